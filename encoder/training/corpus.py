"""Everything the stages read: photos' features, captions as ids and as the teacher sees them, imagined sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from encoder.inputs.tokenizer import Tokenizer, pad
from encoder.training.dataset import Photo
from encoder.training.features import Frozen


@dataclass
class Captions:
    """Distinct sentences: token ids int32 [n, T] (padded, cut to T) and the teacher's vectors float16 [n, 512]."""

    texts: list[str]
    ids: np.ndarray
    meanings: np.ndarray

    def __post_init__(self):
        self.lengths = (self.ids != 0).sum(1)


@dataclass
class Album:
    """Photos as the frozen parts see them; `english`, `chinese`, `translated` are rows of the captions, photo by photo.

    `tokens` [n, L, H] float16, of each photo as it is and, where there are two, mirrored, are what the adapter reads;
    there are none before the stage `image` is done.
    """

    frozen: Frozen
    english: list[np.ndarray]
    chinese: list[np.ndarray]
    translated: list[np.ndarray]
    tokens: tuple[np.ndarray, ...] = ()

    def __len__(self) -> int:
        return len(self.english)

    def draw(self, photo: int, rng: np.random.Generator) -> tuple[int, int]:
        """Two captions of a photo: one English; one Chinese where there is one, by people or by machines, evenly."""
        english = self.english[photo]
        sets = [s for s in (self.chinese[photo], self.translated[photo]) if len(s)]
        other = sets[rng.integers(len(sets))] if sets else english
        first = english if len(english) else other
        return int(rng.choice(first)), int(rng.choice(other))

    def languages(self) -> dict[str, list[np.ndarray]]:
        """Captions, photo by photo, of each kind that any photo has."""
        sets = {"en": self.english, "zh": self.chinese, "zh-mt": self.translated}
        return {name: rows for name, rows in sets.items() if any(len(r) for r in rows)}


def distinct(photos: list[Photo]) -> list[str]:
    """Every caption once, in order."""
    return list(dict.fromkeys(text for photo in photos for text in photo.captions))


def tokenize(tokenizer: Tokenizer, texts: list[str], length: int) -> np.ndarray:
    """ids int32 [n, length]; a longer sentence is cut and keeps its end mark."""
    rows = tokenizer.ids(texts)
    return pad([row if len(row) <= length else row[: length - 1] + row[-1:] for row in rows], length)


def album(photos: list[Photo], frozen: Frozen, texts: list[str]) -> Album:
    """Join photos with the rows of their captions in `texts`."""
    row = {text: i for i, text in enumerate(texts)}

    def rows(captions: tuple[str, ...]) -> np.ndarray:
        return np.array([row[text] for text in captions], np.int64)

    return Album(
        frozen, [rows(p.english) for p in photos], [rows(p.chinese) for p in photos], [rows(p.translated) for p in photos]
    )


FRAMES = {
    "zh": ("{}", "{}", "一张{}的照片", "{}和{}", "{}在{}旁边"),
    "en": ("{}", "{}", "a photo of a {}", "a {} and a {}", "{} next to the {}", "a {} on a {}"),
}


def imagine(captions: list[str], words: dict[str, list[str]], count: int, seed: int) -> list[str]:
    """Sentences no caption says: words of a language (`words["en"]`, `words["zh"]`, frequent ones first) put into captions
    of that language, alone, or into a short phrase.

    They let the text stream learn from its teacher what words mean that no photo here shows.
    """
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        caption = captions[rng.integers(len(captions))]
        language = "zh" if re.search("[\u4e00-\u9fff]", caption) else "en"
        if rng.random() < 0.5:
            frame = FRAMES[language][rng.integers(len(FRAMES[language]))]
            out.append(frame.format(*(_word(words[language], rng) for _ in range(frame.count("{}")))))
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
