"""Measures how compact image tokens change re-ranking: `python -m benchmarks.compact MANIFEST [--model FOLDER] [--photos N]`.

Every caption of the manifest's first N photos is matched with the 32 best photos of the first stage, once with the model's own
tokens and once with each compact form of them. Prints for each form: the bytes an image takes, the mean change of the match
logits, how often the photo with the highest logit is the same, how many of the ten highest stay, and R@1 by logit alone and by
the re-ranked score.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from encoder import open_encoder
from encoder.api import Encoder
from encoder.config import OptConfig
from encoder.inputs.pixels import decode, prepare
from encoder.quantization import dequantize_tokens, quantize_tokens
from encoder.training.dataset import read_photos

CANDIDATES = 32
Form = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--photos", type=int, default=200)
    options = parser.parse_args()
    encoder = open_encoder(options.model)
    photos = read_photos(options.manifest)[: options.photos]
    config = encoder.config
    pixels = np.stack([prepare(decode(photo.path), config.image_size, config.preprocessing) for photo in photos])
    images = encoder.encode_images(pixels)
    captions = [photo.english if "en" in config.languages else photo.chinese for photo in photos]
    texts = [(i, text) for i, own in enumerate(captions) for text in own]
    print(f"{config.name}: {len(photos)} photos, {len(texts)} captions, {CANDIDATES} candidates\n")
    print("| tokens | bytes an image | mean move of a logit | same first | of ten stay | R@1, logit | R@1, score |")
    print("|---|---|---|---|---|---|---|")
    base = None
    for name, form in forms_of(config).items():
        kept = form(images.tokens)
        logits, scores, best = rerank(encoder, texts, images.vectors, unpacked(kept, images.tokens))
        base = logits if base is None else base
        print("| " + " | ".join([name, f"{kept[0].nbytes:,}", *figures(logits, base, scores, best, texts)]) + " |")


def forms_of(config: OptConfig) -> dict[str, Form]:
    """The forms to compare: as they are, in 8 bits; if the grid of patches has an even side, also averaged 2 x 2, and both."""
    forms: dict[str, Form] = {"as they are": lambda tokens: tokens, "8 bits": quantize_tokens}
    side, skip = config.grid // config.merge, 1 + (config.registers if config.merge == 1 else 0)
    if side % 2 == 0:
        forms["averaged 2 x 2"] = lambda tokens: averaged(tokens, side, skip)
        forms["averaged 2 x 2, 8 bits"] = lambda tokens: quantize_tokens(averaged(tokens, side, skip))
    return forms


def averaged(tokens: np.ndarray, side: int, skip: int) -> np.ndarray:
    """Average patches 2 x 2: float16 [n, skip + side * side, H] -> [n, 1 + side * side / 4, H]."""
    patches = tokens[:, skip:].astype(np.float32).reshape(len(tokens), side // 2, 2, side // 2, 2, -1).mean((2, 4))
    return np.concatenate([tokens[:, :1], patches.reshape(len(tokens), -1, tokens.shape[2]).astype(np.float16)], 1)


def unpacked(kept: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The tokens that the cross-modal encoder reads, from the stored form."""
    return kept if kept.shape[2] == tokens.shape[2] else dequantize_tokens(kept)


def rerank(
    encoder: Encoder, texts: list[tuple[int, str]], vectors: np.ndarray, tokens: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match logits [q, K], re-ranked scores [q, K] and photo numbers [q, K] of each caption's K nearest photos."""
    logits, scores, best = [], [], []
    for _, text in texts:
        one = encoder.encode_texts([text])
        similar = one.vectors[0] @ vectors.T
        nearest = np.argsort(-similar, kind="stable")[:CANDIDATES]
        best.append(nearest)
        logits.append(encoder.match(one, tokens[nearest]))
        scores.append(logits[-1] + encoder.config.first_stage_weight * similar[nearest])
    return np.stack(logits), np.stack(scores), np.stack(best)


def figures(
    logits: np.ndarray, base: np.ndarray, scores: np.ndarray, best: np.ndarray, texts: list[tuple[int, str]]
) -> list[str]:
    """The columns of one form; `base` are the logits with the model's own tokens."""
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
