"""The data of the stages of a training: features of photos, captions with the teacher's vectors, synthetic sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from encoder.inputs.tokenizer import Tokenizer, pad
from encoder.training.dataset import Photo
from encoder.training.features import FrozenFeatures


@dataclass
class Captions:
    """Distinct sentences, each a row.

    Attributes:
        texts: the sentences.
        ids: token ids int32 [n, T], padded, cut to T.
        teacher_vectors: float16 [n, 512].
        lengths: the number of tokens of each [n], without padding.
    """

    texts: list[str]
    ids: np.ndarray
    teacher_vectors: np.ndarray

    def __post_init__(self) -> None:
        self.lengths = (self.ids != 0).sum(1)


@dataclass
class CaptionedPhotos:
    """Photos with their features and captions.

    Attributes:
        frozen: what the frozen parts of the network make of them.
        english: of each photo the rows of its English captions in `Captions`.
        chinese: the same of captions that people wrote in Chinese.
        translated: the same of captions that machines translated.
        adapter_inputs: the adapter's inputs float16 [n, L, H] of each view: photos as they are, and mirrored if there are two
            views. Empty before the stage `image` is done.
    """

    frozen: FrozenFeatures
    english: list[np.ndarray]
    chinese: list[np.ndarray]
    translated: list[np.ndarray]
    adapter_inputs: tuple[np.ndarray, ...] = ()

    def __len__(self) -> int:
        return len(self.english)

    def draw(self, photo: int, rng: np.random.Generator) -> tuple[int, int]:
        """Draw two captions of a photo: one in English, one in Chinese. A language that it lacks is replaced by the other.

        Chinese by people and Chinese by machines are equally likely if the photo has both.
        """
        english = self.english[photo]
        sets = [s for s in (self.chinese[photo], self.translated[photo]) if len(s)]
        other = sets[rng.integers(len(sets))] if sets else english
        first = english if len(english) else other
        return int(rng.choice(first)), int(rng.choice(other))

    def languages(self) -> dict[str, list[np.ndarray]]:
        """The rows of captions of each photo, by kind (en, zh, zh-mt). Kinds that no photo has are left out."""
        sets = {"en": self.english, "zh": self.chinese, "zh-mt": self.translated}
        return {name: rows for name, rows in sets.items() if any(len(r) for r in rows)}


def distinct(photos: list[Photo]) -> list[str]:
    """List every caption once, in order."""
    return list(dict.fromkeys(text for photo in photos for text in photo.captions))


def tokenize(tokenizer: Tokenizer, texts: list[str], length: int) -> np.ndarray:
    """Tokenize texts to padded ids int32 [n, length]. A longer text is cut and keeps its end mark."""
    rows = tokenizer.ids(texts)
    return pad([row if len(row) <= length else row[: length - 1] + row[-1:] for row in rows], length)


def captioned_photos(photos: list[Photo], frozen: FrozenFeatures, texts: list[str]) -> CaptionedPhotos:
    """Join photos and their features with the rows of their captions in `texts`."""
    row = {text: i for i, text in enumerate(texts)}

    def rows(captions: tuple[str, ...]) -> np.ndarray:
        return np.array([row[text] for text in captions], np.int64)

    return CaptionedPhotos(
        frozen, [rows(p.english) for p in photos], [rows(p.chinese) for p in photos], [rows(p.translated) for p in photos]
    )


TEMPLATES = {
    "zh": ("{}", "{}", "一张{}的照片", "{}和{}", "{}在{}旁边"),
    "en": ("{}", "{}", "a photo of a {}", "a {} and a {}", "{} next to the {}", "a {} on a {}"),
}


def synthesize(captions: list[str], words: dict[str, list[str]], count: int, seed: int) -> list[str]:
    """Make sentences that are no captions: words put into captions of the same language, alone, or into a short phrase.

    They let the text stream learn words that no photo here shows.

    Args:
        captions: the captions to draw from.
        words: the words of each language ("en", "zh"), frequent ones first.
        count: how many sentences to make; duplicates among them are dropped.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        caption = captions[rng.integers(len(captions))]
        language = "zh" if re.search("[\u4e00-\u9fff]", caption) else "en"
        if rng.random() < 0.5:
            template = TEMPLATES[language][rng.integers(len(TEMPLATES[language]))]
            out.append(template.format(*(_word(words[language], rng) for _ in range(template.count("{}")))))
        else:
            out.append(_swap(caption, words[language], language, rng))
    return list(dict.fromkeys(out))


def _word(words: list[str], rng: np.random.Generator) -> str:
    return words[int(len(words) * rng.random() ** 1.5)]


def _swap(caption: str, words: list[str], language: str, rng: np.random.Generator) -> str:
    if language == "zh":
        at = int(rng.integers(max(len(caption) - 2, 1)))
        return caption[:at] + _word(words, rng) + caption[at + 2 :]
    parts = caption.split()
    for _ in range(1 + int(rng.integers(2))):
        parts[rng.integers(len(parts))] = _word(words, rng)
    return " ".join(parts)
