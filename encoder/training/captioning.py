"""`manage.py train --captioner`: a network that writes captions, made of a model's own text stream and fusion.

It reads the image tokens that the model stores, so that the model itself stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from encoder.captioner_config import CaptionerConfig
from encoder.config import OptConfig
from encoder.errors import BadTrainingData
from encoder.inputs.image_inputs import PixelInput
from encoder.inputs.tokenizer import Tokenizer, pad
from encoder.model_folder import read_weights, vocabulary_path, write_model
from encoder.network.captioner import CaptionerModel
from encoder.runtime.encoder import OptEncoder
from encoder.training.captioner_vocabulary import END, FIRST_LANGUAGE, LANGUAGES, UNKNOWN, set_first_weights, smaller_tokenizer
from encoder.training.dataset import Photo
from encoder.training.features import ConcatenatedRows, extract_rows, feature_path
from encoder.training.loop import Schedule, Stage

Say = Callable[[str], None]
Settings = dict[str, Any]
Ids = list[int]
SETTINGS = Path(__file__).with_name("captioning.toml")
SHORT = 16
"""The places of a batch of short captions. Three batches of four are short."""
VALIDATION_PHOTOS = 512


class CaptionObjective(nn.Cell):
    """The loss of a captioner: the cross-entropy of each next word, with label smoothing (OPT specification, captions, 3)."""

    def __init__(self, model: CaptionerModel, smoothing: float, dropout: float):
        """Make the loss.

        Args:
            model: the captioner.
            smoothing: the weight that all words but the right one share.
            dropout: the share of the image tokens' numbers, and of the last states', that is left out.
        """
        super().__init__()
        self.model = model
        self.off = Tensor(smoothing / (model.config.vocab_size - 1), ms.float32)
        self.on = Tensor(1.0 - smoothing, ms.float32)
        self.dropout = nn.Dropout(p=dropout)

    def construct(self, tokens: Tensor, ids: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            tokens: of the photos [B, L, H].
            ids: two captions of each photo in turn, int32 [2 B, T].
            targets: the words that follow, int32 [2 B, T]; 0: there is none.
        """
        states = self.model(ids, self.model.memory(self.dropout(tokens)))
        log_probabilities = ops.log_softmax(self.model.logits(self.dropout(states)), -1)
        wanted = ops.one_hot(targets, log_probabilities.shape[-1], self.on, self.off)
        valid = (targets != 0).astype(ms.float32)
        return -((log_probabilities * wanted).sum(-1) * valid).sum() / valid.sum()


@dataclasses.dataclass
class CaptionedTokens:
    """Photos to learn captions from.

    Attributes:
        tokens: image tokens [n, L, W], memory-mapped.
        english, chinese, translated: the token ids of each photo's captions, marks included: in English, in Chinese by people,
            and in Chinese by machines.
    """

    tokens: ConcatenatedRows
    english: list[list[Ids]]
    chinese: list[list[Ids]]
    translated: list[list[Ids]]

    def __len__(self) -> int:
        return len(self.english)

    def has_short(self) -> bool:
        """True if a photo has a caption that fits a batch of short ones."""
        return any(_up_to(SHORT + 1, own) for one in (self.english, self.chinese, self.translated) for own in one)

    def draw(self, photo: int, rng: np.random.Generator, by_people: float, longest: int) -> list[tuple[str, Ids]]:
        """Draw two captions of a photo, one in English and one in Chinese; a language that it lacks is replaced by the other.

        Args:
            photo: its row.
            rng: random numbers.
            by_people: how often a Chinese caption is by people, if there are both.
            longest: the most ids of a caption.

        Returns:
            Two languages and ids; nothing if no caption is short enough.
        """
        english, people, machines = (_up_to(longest, one[photo]) for one in (self.english, self.chinese, self.translated))
        chinese = people if people and (not machines or rng.random() < by_people) else machines
        sets = [(language, given) for language, given in zip(LANGUAGES, (english, chinese), strict=True) if given]
        return [(language, given[rng.integers(len(given))]) for language, given in (sets * 2)[:2]]


def _up_to(longest: int, captions: list[Ids]) -> list[Ids]:
    return [ids for ids in captions if len(ids) <= longest]


def train_captioner(
    folder: Path, groups: list[list[Photo]], validation: list[Photo], settings: Settings, out: Path, say: Say = print
) -> Path:
    """Train the captioner of a model. Calling it again with the same arguments goes on where it was stopped.

    Args:
        folder: the model's folder.
        groups: photos to train on, of each manifest.
        validation: other photos.
        settings: as `captioning.toml` has them.
        out: a folder for features, the state and the log; and for the captioner, a model folder, in `captioner`.
        say: prints a line for the user.

    Returns:
        The captioner's folder.

    Raises:
        BadTrainingData: the model is none that a captioner can be made of, or no photo has captions.
    """
    out.mkdir(parents=True, exist_ok=True)
    encoder = OptEncoder(folder, "CPU")
    if not isinstance(encoder.config, OptConfig) or vocabulary_path(folder).suffix != ".json" or encoder.config.regions:
        raise BadTrainingData(f"A captioner can't be made of {encoder.config.name}: an opt-mini is needed.")
    texts = [text for group in groups for photo in group for text in photo.captions]
    tokenizer, rows = smaller_tokenizer(vocabulary_path(folder), texts, settings["fewest_uses"])
    tokenizer.save(str(out / "tokenizer.json"))
    config = captioner_config(settings, encoder.config, encoder.fingerprint, len(rows))
    reader = Tokenizer(out / "tokenizer.json", config.caption_length + 2)
    train, held_out = (_captioned(photos, reader, encoder, out / "features", say) for photos in (groups, [validation]))
    if not train.has_short():
        raise BadTrainingData(f"No photo has a caption of at most {SHORT - 1} pieces: there is nothing to learn from.")
    say(f"{len(train)} photos to train on, {len(held_out)} to validate on, {len(rows)} pieces")
    ms.set_seed(settings["seed"])
    ms.set_context(mode=ms.GRAPH_MODE)
    model = CaptionerModel(config)
    set_first_weights(model, read_weights(folder), rows)
    _run(model, train, held_out, settings, out, say)
    weights = {name: parameter.asnumpy() for name, parameter in model.parameters_and_names()}
    write_model(out / "captioner", config, weights, (out / "tokenizer.json").read_bytes())
    return out / "captioner"


def captioner_config(settings: Settings, encoder: OptConfig, made_for: str, vocab_size: int) -> CaptionerConfig:
    """The config of the captioner of a model, whose blocks have the sizes of that model's."""
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
        begin=tuple((language, FIRST_LANGUAGE + i) for i, language in enumerate(LANGUAGES)),
        end=END,
        encoder=made_for,
        type_vocab_size=encoder.type_vocab_size,
        int8_weights=("uniter.", "cls."),
        length_penalty=settings["length_penalty"],
    )


def _captioned(groups: list[list[Photo]], reader: Tokenizer, encoder: OptEncoder, folder: Path, say: Say) -> CaptionedTokens:
    """Encode photos and tokenize their captions. The image tokens are kept in `folder`."""
    inputs, name = encoder.config.inputs, f"tokens-{encoder.fingerprint}"
    assert isinstance(inputs, PixelInput)  # `train_captioner` has refused a model that reads regions
    parts = []
    for photos in groups:
        say(f"the image tokens of {len(photos)} photos")
        path = feature_path(folder, name, photos, inputs, False)
        parts.append(extract_rows(lambda pixels: encoder.graphs.run("images", pixels)[-1], path, photos, inputs, False))
    all_photos = [photo for group in groups for photo in group]
    captions = [[reader.ids(list(getattr(one, kind))) for one in all_photos] for kind in ("english", "chinese", "translated")]
    return CaptionedTokens(ConcatenatedRows(parts), *captions)


def _run(
    model: CaptionerModel, train: CaptionedTokens, held_out: CaptionedTokens, settings: Settings, out: Path, say: Say
) -> None:
    values = settings["caption"]
    objective = CaptionObjective(model, values["smoothing"], values["dropout"])
    steps = values["steps"]
    schedule = Schedule(
        steps=steps,
        rate=values["rate"],
        decay=values["decay"],
        warmup=max(1, min(200, steps // 10)),
        validate_every=max(1, steps // 10),
    )

    def batch(step: int) -> tuple[np.ndarray, ...]:
        rng = np.random.default_rng([settings["seed"], step])
        return batch_of(train, model.config, values, rng, step % 4 != 3)

    plain = CaptionObjective(model, 0.0, 0.0).set_train(False)
    stage = Stage("caption", objective, dict(model.parameters_and_names()), schedule, out)
    stage.run(batch, lambda: perplexities(plain, held_out), say)


def batch_of(
    photos: CaptionedTokens, config: CaptionerConfig, values: Settings, rng: np.random.Generator, short: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw photos and two captions of each.

    Args:
        photos: to draw from.
        config: of the captioner.
        values: `batch`, the number of photos; `by_people`, see `CaptionedTokens.draw`; `unread_words`, the share of words that
            the network reads as unknown, so that it looks at the photo.
        rng: random numbers.
        short: draw captions of at most SHORT words, else of any length.

    Returns:
        Image tokens float32 [B, L, W], ids and targets int32 [2 B, T].
    """
    length = min(SHORT, config.caption_length) if short else config.caption_length
    begin, rows, inputs, targets = dict(config.begin), [], [], []
    order = iter(rng.permutation(len(photos)).tolist() * values["batch"])
    while len(rows) < values["batch"]:
        photo = next(order)
        drawn = photos.draw(photo, rng, values["by_people"], length + 1)
        if drawn:
            rows.append(photo)
            inputs += [[begin[language], *ids[1:-1]] for language, ids in drawn]
            targets += [ids[1:] for _, ids in drawn]
    ids = pad(inputs, length)
    unread = (rng.random(ids.shape) < values["unread_words"]) & (ids != 0)
    unread[:, 0] = False
    ids[unread] = UNKNOWN
    return np.stack([photos.tokens[row] for row in rows]).astype(np.float32), ids, pad(targets, length)


def perplexities(objective: CaptionObjective, photos: CaptionedTokens) -> dict[str, float]:
    """Compute the perplexity of the last short caption of each validation photo, by language.

    Args:
        objective: without smoothing and dropout. It is compiled once, and always uses the current weights.
        photos: the validation photos.
    """
    config = objective.model.config
    begin, out = dict(config.begin), {}
    length = min(SHORT, config.caption_length)
    for language, captions in zip(LANGUAGES, (photos.english, photos.chinese), strict=True):
        short = {row: own[-1] for row, given in enumerate(captions) if (own := _up_to(length + 1, given))}
        rows = [*short][:VALIDATION_PHOTOS]
        if not rows:
            continue
        rows += rows[:1] * (-len(rows) % 64)
        losses = []
        for start in range(0, len(rows), 64):
            part = rows[start : start + 64]
            ids = pad([[begin[language], *short[row][1:-1]] for row in part for _ in range(2)], length)
            targets = pad([short[row][1:] for row in part for _ in range(2)], length)
            tokens = np.stack([photos.tokens[row] for row in part]).astype(np.float32)
            losses.append(float(objective(Tensor(tokens), Tensor(ids), Tensor(targets)).asnumpy()))
        out[f"{language} perplexity"] = float(np.exp(np.mean(losses)))
    return out
