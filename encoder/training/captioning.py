"""`manage.py train --captioner`: a network that writes captions, made of a model's own text stream and fusion.

It reads the image tokens that the model stores, so that the model itself stays as it is.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import tokenizers
from mindspore import Tensor, nn, ops

from encoder.captioner_config import CaptionerConfig
from encoder.config import OptConfig
from encoder.inputs.tokenizer import Tokenizer, pad
from encoder.model_folder import fingerprint, read_config, read_weights, vocabulary_path
from encoder.network.captioner import CaptionerModel
from encoder.runtime.encoder import OptEncoder
from encoder.training.dataset import Photo
from encoder.training.features import ConcatenatedRows, extract_rows, feature_path
from encoder.training.loop import Schedule, Stage

Say = Callable[[str], None]
LANGUAGES = ("en", "zh")
SHORT = 16
"""The places of a batch of short captions."""


class CaptionObjective(nn.Cell):
    """The loss of a captioner: cross-entropy of each next word, with label smoothing (OPT specification, captions, 3).

    Attributes:
        smoothing: the share of the target's weight that all other words get.
    """

    def __init__(self, model: CaptionerModel, smoothing: float, dropout: float):
        super().__init__()
        self.model, self.captions = model, 2
        others = smoothing / (model.config.vocab_size - 1)
        self.off, self.on = Tensor(others, ms.float32), Tensor(1.0 - smoothing, ms.float32)
        self.dropout = nn.Dropout(p=dropout)

    def construct(self, tokens: Tensor, ids: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            tokens: of the photos [B, L, H].
            ids: two captions of each photo in turn, int32 [2 B, T].
            targets: the words that follow, int32 [2 B, T]; 0: there is none.
        """
        memory = self.model.memory(self.dropout(tokens)).repeat_interleave(self.captions, 0)
        log_probabilities = ops.log_softmax(self.model.logits(self.dropout(self.model(ids, memory))), -1)
        wanted = ops.one_hot(targets, log_probabilities.shape[-1], self.on, self.off)
        valid = (targets != 0).astype(ms.float32)
        return -((log_probabilities * wanted).sum(-1) * valid).sum() / valid.sum()


def captioner_config(settings: dict[str, Any], encoder: OptConfig, made_for: str, vocab_size: int) -> CaptionerConfig:
    """The config of the captioner of a model, whose blocks have the sizes of that model's."""
    marks = len(MARKS)
    return CaptionerConfig(
        name=f"{encoder.name}-captioner",
        hidden_size=encoder.hidden_size,
        vocab_size=vocab_size,
        heads=encoder.text_heads,
        text_layers=settings["text_layers"],
        text_intermediate=encoder.text_intermediate,
        fusion_layers=settings["fusion_layers"],
        fusion_intermediate=encoder.fusion_intermediate,
        max_positions=encoder.max_positions,
        image_tokens=encoder.token_shape[0],
        caption_length=encoder.text_length,
        begin=tuple((language, marks + i) for i, language in enumerate(LANGUAGES)),
        end=MARKS.index("[SEP]"),
        encoder=made_for,
        type_vocab_size=encoder.type_vocab_size,
        int8_weights=("uniter.", "cls."),
    )


MARKS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")


def smaller_tokenizer(path: Path, texts: list[str], fewest: int) -> tuple[tokenizers.Tokenizer, np.ndarray]:
    """Make a tokenizer of the pieces that captions use.

    Args:
        path: the model's own `tokenizer.json`.
        texts: the captions.
        fewest: the least times that a piece of several characters must be used.

    Returns:
        The tokenizer, with a mark for each language after the usual marks; and the id in the model's own vocabulary of each of
        its pieces, int64 [V], of [CLS] for the languages.
    """
    own = json.loads(path.read_text(encoding="utf-8"))
    pieces = own["model"]["vocab"]
    counts = np.zeros(len(pieces), np.int64)
    for encoding in tokenizers.Tokenizer.from_file(str(path)).encode_batch(texts):
        np.add.at(counts, encoding.ids, 1)
    kept = [i for i, (piece, _) in enumerate(pieces) if counts[i] >= (fewest if len(piece) > 1 else 1)]
    kept = [i for i in kept if i >= len(MARKS)]
    languages = [[f"[{language.upper()}]", 0.0] for language in LANGUAGES]
    own["model"]["vocab"] = [*pieces[: len(MARKS)], *languages, *(pieces[i] for i in kept)]
    cls = MARKS.index("[CLS]")
    rows = [*range(len(MARKS)), *[cls] * len(LANGUAGES), *kept]
    return tokenizers.Tokenizer.from_str(json.dumps(own, ensure_ascii=False)), np.array(rows, np.int64)


def initial_weights(model: CaptionerModel, weights: dict[str, np.ndarray], rows: np.ndarray) -> None:
    """Set a captioner's parameters to those of the model that it is made of; a block too many takes the last one's."""
    table = "cls.predictions.decoder.weight"
    blocks = 1 + max(int(name.split(".")[4]) for name in weights if name.startswith("uniter.encoder.decoder.blocks."))
    for name, parameter in model.parameters_and_names():
        source = name
        if name.startswith("uniter.encoder.decoder.blocks."):
            parts = name.split(".")
            source = ".".join([*parts[:4], str(min(int(parts[4]), blocks - 1)), *parts[5:]])
        if source in weights:
            value = weights[source].astype(np.float32)
            parameter.set_data(Tensor(value[rows] if name == table else value))


@dataclasses.dataclass
class CaptionedTokens:
    """Photos to learn captions from.

    Attributes:
        tokens: image tokens [n, L, W], memory-mapped.
        english, chinese, translated: the token ids of each photo's captions, marks included, by who wrote them.
    """

    tokens: ConcatenatedRows
    english: list[list[list[int]]]
    chinese: list[list[list[int]]]
    translated: list[list[list[int]]]

    def __len__(self) -> int:
        return len(self.english)

    def draw(self, photo: int, rng: np.random.Generator, by_people: float, longest: int) -> list[tuple[str, list[int]]]:
        """Draw an English and a Chinese caption of a photo, of at most so many ids; a language that it lacks is replaced."""
        english = [ids for ids in self.english[photo] if len(ids) <= longest]
        sets = [[ids for ids in one[photo] if len(ids) <= longest] for one in (self.chinese, self.translated)]
        own = sets[0] if sets[0] and (not sets[1] or rng.random() < by_people) else sets[1]
        drawn = [(language, given[rng.integers(len(given))]) for language, given in (("en", english), ("zh", own)) if given]
        return (drawn * 2)[:2]


def captioned_tokens(
    groups: list[list[Photo]], tokenizer: Tokenizer, encoder: OptEncoder, folder: Path, say: Say
) -> CaptionedTokens:
    """Encode photos and tokenize their captions; tokens are kept in `folder`."""
    name = f"tokens-{encoder.fingerprint}"
    parts = [
        extract_rows(
            lambda pixels: encoder.graphs.run("images", pixels)[-1],
            feature_path(folder, name, photos, encoder.config.inputs, False),
            photos,
            encoder.config.inputs,
            False,
        )
        for photos in groups
    ]
    photos = [photo for group in groups for photo in group]
    say(f"{len(photos)} photos")
    return CaptionedTokens(
        ConcatenatedRows(parts),
        [tokenizer.ids(list(one.english)) for one in photos],
        [tokenizer.ids(list(one.chinese)) for one in photos],
        [tokenizer.ids(list(one.translated)) for one in photos],
    )


def batch_of(
    photos: CaptionedTokens, config: CaptionerConfig, settings: dict[str, Any], rng: np.random.Generator, short: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw photos and two captions of each.

    Returns:
        Tokens float32 [B, L, W], ids and targets int32 [2 B, T]. Some ids are replaced by the unknown word, so that the
        network looks at the photo.
    """
    length = SHORT if short else config.caption_length
    begin, unknown = dict(config.begin), MARKS.index("[UNK]")
    rows, inputs, targets = [], [], []
    while len(rows) < settings["batch"]:
        photo = int(rng.integers(len(photos)))
        drawn = photos.draw(photo, rng, settings["by_people"], length + 1)
        if drawn:
            rows.append(photo)
            inputs += [[begin[language], *ids[1:-1]] for language, ids in drawn]
            targets += [ids[1:] for _, ids in drawn]
    ids = pad(inputs, length)
    hidden = (rng.random(ids.shape) < settings["unread_words"]) & (ids != 0)
    hidden[:, 0] = False
    ids[hidden] = unknown
    return np.stack([photos.tokens[row] for row in rows]).astype(np.float32), ids, pad(targets, length)


def validation_loss(model: CaptionerModel, photos: CaptionedTokens, config: CaptionerConfig) -> Callable[[], dict[str, float]]:
    """A function that computes the perplexity of the last caption of each validation photo, by language."""
    objective = CaptionObjective(model, 0.0, 0.0).set_train(False)
    begin = dict(config.begin)

    def perplexity(captions: list[list[list[int]]], language: str) -> float:
        rows = [row for row in range(len(photos)) if captions[row] and len(captions[row][-1]) <= SHORT + 1]
        rows, losses, size = rows[:512], [], 64
        for start in range(0, len(rows) - size + 1, size):
            part = rows[start : start + size]
            chosen = [captions[row][-1] for row in part for _ in range(2)]
            ids = pad([[begin[language], *one[1:-1]] for one in chosen], SHORT)
            targets = pad([one[1:] for one in chosen], SHORT)
            tokens = np.stack([photos.tokens[row] for row in part]).astype(np.float32)
            losses.append(float(objective(Tensor(tokens), Tensor(ids), Tensor(targets)).asnumpy()))
        return float(np.exp(np.mean(losses))) if losses else float("nan")

    return lambda: {
        "en perplexity": perplexity(photos.english, "en"),
        "zh perplexity": perplexity(photos.chinese, "zh"),
    }


def train_captioner(
    folder: Path, groups: list[list[Photo]], validation: list[Photo], settings: dict[str, Any], out: Path, say: Say = print
) -> CaptionerModel:
    """Train the captioner of a model folder."""
    out.mkdir(parents=True, exist_ok=True)
    encoder = OptEncoder(folder, "CPU")
    texts = [text for group in groups for photo in group for text in photo.captions]
    tokenizer_path = out / "tokenizer.json"
    tokenizer, rows = smaller_tokenizer(vocabulary_path(folder), texts, settings["fewest_uses"])
    tokenizer.save(str(tokenizer_path))
    config = captioner_config(settings, read_config(folder), fingerprint(folder), len(rows))
    say(f"{len(rows)} pieces")
    own = Tokenizer(tokenizer_path, config.caption_length + 1)
    train = captioned_tokens(groups, own, encoder, out / "features", say)
    held_out = captioned_tokens([validation], own, encoder, out / "features", say)
    ms.set_seed(settings["seed"])
    ms.set_context(mode=ms.GRAPH_MODE)
    model = CaptionerModel(config)
    initial_weights(model, read_weights(folder), rows)
    values = settings["caption"]
    objective = CaptionObjective(model, values["smoothing"], values["dropout"])
    parameters = dict(model.parameters_and_names())
    schedule = Schedule(steps=values["steps"], rate=values["rate"], decay=values["decay"], warmup=200, validate_every=200)

    def batch(step: int) -> tuple[np.ndarray, ...]:
        rng = np.random.default_rng([settings["seed"], step])
        return batch_of(train, config, values, rng, step % 4 != 3)

    Stage("caption", objective, parameters, schedule, out).run(batch, validation_loss(model, held_out, config), say)
    return model
