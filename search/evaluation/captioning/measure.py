"""Measure written captions against those of people: every figure with its 95 % bootstrap interval over photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from search.evaluation.captioning.ngrams import LONGEST, bleu, bleu_counts, cider_d, rouge_l
from search.evaluation.captioning.things import hallucinations
from search.evaluation.captioning.tokens import TOKENIZERS, Tokens
from search.evaluation.captioning.wording import distinct, repeats_a_word
from search.evaluation.metrics import bootstrap_interval

MEASURES = (*(f"BLEU-{n}" for n in range(1, LONGEST + 1)), "ROUGE-L", "CIDEr")
SHARES = ("repeats", "names_things", "hallucinates")


def likeness(written: Mapping[int, str], references: Mapping[int, Sequence[str]], language: str, seed: int = 0) -> list[dict]:
    """How like the captions of people the written ones are.

    Args:
        written: a caption of each photo; a photo without one counts as one with an empty caption.
        references: the captions of people of each photo that is measured, each with at least one token.
        language: "en" or "zh".
        seed: of the intervals.

    Returns:
        A row for each way to cut captions of the language into tokens: `language`, `tokens`, `images`, `references`, and each
        of MEASURES times 100, with its interval (`CIDEr_ci` and so on).
    """
    rows = []
    for unit, tokenize in TOKENIZERS[language].items():
        ours = [tokenize(written.get(photo, "")) for photo in references]
        people = [[tokenize(text) for text in texts] for texts in references.values()]
        head = {"language": language, "tokens": unit, "images": len(people), "references": sum(map(len, people))}
        rows.append(head | _scores(ours, people, seed))
    return rows


def wording(written: Mapping[int, str], references: Mapping[int, Sequence[str]], language: str, seed: int = 0) -> dict:
    """How the captions are worded, and how many name what isn't there. The arguments are those of `likeness`.

    Returns:
        `language`, `captions` (how many aren't empty), `empty`, `distinct`, `mean_length` (in `length_in`: words or
        characters); of the captions that aren't empty, in percent with its interval, each of SHARES: that have a word three
        times in a row, that name a thing at all, and that name one which the references of other photos name and none of
        their own photo.
    """
    unit, tokenize = next(iter(TOKENIZERS[language].items()))
    ours = [tokenize(written.get(photo, "")) for photo in references]
    words = [TOKENIZERS[language]["words"](written.get(photo, "")) for photo in references]
    people = [[TOKENIZERS[language]["words"](text) for text in texts] for texts in references.values()]
    lengths = np.array([len(tokens) for tokens in ours])
    repeats = np.array([repeats_a_word(a) or repeats_a_word(b) for a, b in zip(ours, words, strict=True)])
    shares = np.column_stack([repeats, *hallucinations(words, people, language), lengths > 0]).astype(float)
    return {
        "language": language,
        "captions": int((lengths > 0).sum()),
        "empty": int((lengths == 0).sum()),
        "distinct": distinct(ours),
        "mean_length": round(float(lengths.sum() / max(1, (lengths > 0).sum())), 2),
        "length_in": unit,
    } | _with_intervals(SHARES, lambda drawn: _shares(drawn @ shares), len(shares), seed)


def _scores(ours: Sequence[Tokens], people: Sequence[Sequence[Tokens]], seed: int) -> dict:
    counts, means = bleu_counts(ours, people), np.column_stack([rouge_l(ours, people), cider_d(ours, people)])

    def measure(drawn: np.ndarray) -> np.ndarray:
        return 100 * np.concatenate([bleu(drawn @ counts), drawn @ means / drawn.sum()])

    return _with_intervals(MEASURES, measure, len(ours), seed)


def _shares(sums: np.ndarray) -> np.ndarray:
    """Percents of the last of these sums, which is that of the captions that aren't empty; 0 if there is none."""
    return 100 * sums[:-1] / max(sums[-1], 1)


def _with_intervals(names: Sequence[str], measure: Callable[[np.ndarray], np.ndarray], photos: int, seed: int) -> dict:
    """Each named entry of a measure, with its interval; `measure` takes how often each photo counts."""
    values, (low, high) = measure(np.ones(photos, np.int64)), bootstrap_interval(measure, photos, seed)
    figures = {}
    for i, name in enumerate(names):
        figures[name] = round(float(values[i]), 2)
        figures[f"{name}_ci"] = [round(float(low[i]), 2), round(float(high[i]), 2)]
    return figures
