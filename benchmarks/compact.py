"""What fewer bytes of image tokens do to re-ranking: `python -m benchmarks.compact MANIFEST [--model FOLDER] [--photos N]`.

Every caption of the manifest's first N photos is read with the first stage's 32 best, once with the tokens as the model makes
them and once with each compact form. Printed for each form: the bytes that an image keeps, by how much match logits move, how
often the same photo has the highest logit, how many of the first ten by logit stay, and R@1 by logit alone and by the
re-ranked score.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from encoder import open_encoder
from encoder.inputs.pixels import decode, prepare
from encoder.quantization import dequantize_tokens, quantize_tokens
from encoder.training.dataset import read_photos

READ = 32
Form = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("manifest", type=Path)
    options.add_argument("--model", type=Path)
    options.add_argument("--photos", type=int, default=200)
    asked = options.parse_args()
    encoder = open_encoder(asked.model)
    photos = read_photos(asked.manifest)[: asked.photos]
    config = encoder.config
    pixels = np.stack([prepare(decode(photo.path), config.image_size, config.preprocessing) for photo in photos])
    images = encoder.encode_images(pixels)
    said = [photo.english if "en" in config.languages else photo.chinese for photo in photos]
    texts = [(i, text) for i, own in enumerate(said) for text in own]
    print(f"{config.name}: {len(photos)} photos, {len(texts)} captions, {READ} candidates\n")
    print("| tokens | bytes an image | mean move of a logit | same first | of ten stay | R@1, logit | R@1, score |")
    print("|---|---|---|---|---|---|---|")
    base = None
    for name, form in forms_of(config).items():
        kept = form(images.tokens)
        logits, scores, best = read(encoder, texts, images.vectors, unpacked(kept, images.tokens))
        base = logits if base is None else base
        print("| " + " | ".join([name, f"{kept[0].nbytes:,}", *figures(logits, base, scores, best, texts)]) + " |")


def forms_of(config) -> dict[str, Form]:
    """What is compared: as they are, in 8 bits and, where patches lie on a grid of even side, averaged 2 x 2, and both."""
    forms: dict[str, Form] = {"as they are": lambda tokens: tokens, "8 bits": quantize_tokens}
    side, skip = config.grid // config.merge, 1 + (config.registers if config.merge == 1 else 0)
    if side % 2 == 0:
        forms["averaged 2 x 2"] = lambda tokens: averaged(tokens, side, skip)
        forms["averaged 2 x 2, 8 bits"] = lambda tokens: quantize_tokens(averaged(tokens, side, skip))
    return forms


def averaged(tokens: np.ndarray, side: int, skip: int) -> np.ndarray:
    """float16 [n, skip + side * side, H] -> [n, 1 + side * side / 4, H]."""
    patches = tokens[:, skip:].astype(np.float32).reshape(len(tokens), side // 2, 2, side // 2, 2, -1).mean((2, 4))
    return np.concatenate([tokens[:, :1], patches.reshape(len(tokens), -1, tokens.shape[2]).astype(np.float16)], 1)


def unpacked(kept: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """What the cross-modal encoder reads of what was kept."""
    return kept if kept.shape[2] == tokens.shape[2] else dequantize_tokens(kept)


def read(encoder, texts: list[tuple[int, str]], vectors: np.ndarray, tokens: np.ndarray):
    """Match logits and re-ranked scores [q, K] of each caption's nearest photos, and which these are [q, K]."""
    logits, scores, best = [], [], []
    for _, text in texts:
        one = encoder.encode_texts([text])
        similar = one.vectors[0] @ vectors.T
        nearest = np.argsort(-similar, kind="stable")[:READ]
        best.append(nearest)
        logits.append(encoder.match(one, tokens[nearest]))
        scores.append(logits[-1] + encoder.config.first_stage_weight * similar[nearest])
    return np.stack(logits), np.stack(scores), np.stack(best)


def figures(logits, base, scores, best, texts) -> list[str]:
    """The columns of one form."""
    right = best == np.array([photo for photo, _ in texts])[:, None]
    ten = [len({*np.argsort(-a)[:10]} & {*np.argsort(-b)[:10]}) for a, b in zip(logits, base, strict=True)]
    first = [np.take_along_axis(right, values.argmax(1)[:, None], 1).mean() for values in (logits, scores)]
    return [
        f"{np.abs(logits - base).mean():.4f}",
        f"{100 * (logits.argmax(1) == base.argmax(1)).mean():.1f} %",
        f"{np.mean(ten):.2f}",
        *(f"{100 * share:.1f}" for share in first),
    ]


if __name__ == "__main__":
    main()
