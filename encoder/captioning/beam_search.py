"""The search for a caption (OPT specification, captions, 2), over any function that scores the next word. Pure numpy.

All published captioners search in this way: a beam that ends stays at its rank and takes the place of a new one, so that the
search narrows; the length penalty of GNMT ranks what is left, beams that never ended included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

NextWord = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Scores the next word of the beams of n images.

Args:
    words: the last word of each beam, int32 [n, W].
    sources: the beam of the call before that each beam goes on with, int64 [n, W].

Returns:
    Log-probabilities, float32 [n, W, V].
"""

UNLIKELY = np.float32(-1e9)
LONGEST_REPEATED = 4
"""The most pieces of what is not written three times in a row."""


@dataclass(frozen=True)
class Rules:
    """What a search excludes and favours. Published searches exclude nothing, and their length penalty weighs 1.

    Attributes:
        never: words that are never written, such as marks.
        no_repeats: nothing of up to LONGEST_REPEATED pieces is written three times in a row.
        length_weight: the weight of `length_penalty`; more than 1 favours longer captions.
    """

    never: tuple[int, ...] = ()
    no_repeats: bool = False
    length_weight: float = 1.0


NO_RULES = Rules()


@dataclass(frozen=True)
class Found:
    """The caption that a search has found.

    Attributes:
        ids: its words, without begin and end.
        log_probability: the sum of the log-probabilities of its words, its end included if it ended.
        ended: False if the search stopped first.
    """

    ids: list[int]
    log_probability: float
    ended: bool


def search(
    next_word: NextWord, begins: Sequence[int], end: int, steps: int, beams: int = 1, rules: Rules = NO_RULES
) -> list[Found]:
    """Search for the caption of each of n images, whose searches don't touch each other.

    The published search makes all its steps. This one stops when every beam of every image has ended: from there on each step
    keeps each beam, its score and its length as they are, so that no result changes.

    Args:
        next_word: scores the next word of each beam.
        begins: the first id of the caption of each image.
        end: the id that ends a caption.
        steps: the most words of a caption, its end included.
        beams: W, how many beginnings of a caption are followed; 1 takes the likeliest word at each step.
        rules: what is excluded and favoured.
    """
    n = len(begins)
    if n == 0:
        return []
    ids = np.full((n, beams, 1 + steps), end, np.int32)
    ids[:, :, 0] = np.asarray(begins, np.int32)[:, None]
    scores = np.full((n, beams), UNLIKELY, np.float32)
    scores[:, 0] = 0
    ended = np.zeros((n, beams), bool)
    lengths = np.zeros((n, beams), np.int64)
    sources = np.broadcast_to(np.arange(beams), (n, beams))
    for step in range(steps):
        total = scores[:, :, None] + next_word(np.ascontiguousarray(ids[:, :, step]), sources)
        total[ended] += UNLIKELY
        _exclude(total, ids[:, :, 1 : step + 1], rules)
        sources, words, scores = _ranked(*_kept(_best(total, beams), ended, scores, end), end)
        lengths = np.take_along_axis(lengths + ~ended, sources, 1)
        ids = np.take_along_axis(ids, sources[:, :, None], 1)
        ids[:, :, step + 1] = words
        ended = words == end
        if ended.all():
            break
    best = np.argmax(scores / length_penalty(lengths, rules.length_weight), 1)
    return [_found(ids[i, beam, 1:], scores[i, beam], lengths[i, beam], ended[i, beam]) for i, beam in enumerate(best)]


def length_penalty(lengths: np.ndarray, weight: float = 1.0) -> np.ndarray:
    """What GNMT divides a score by, of lengths that count the end."""
    return (((lengths + 5.0) / 6.0) ** weight).astype(np.float32)


def _best(total: np.ndarray, beams: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best candidates of each image, best first: source beam, word and value, each [n, W]. The first of equals wins."""
    n, _, size = total.shape
    flat = total.reshape(n, -1)
    chosen = np.empty((n, beams), np.int64)
    for own, row in zip(chosen, flat, strict=True):
        least = np.partition(row, len(row) - beams)[len(row) - beams]
        candidates = np.flatnonzero(row >= least)
        own[:] = candidates[np.argsort(-row[candidates], kind="stable")[:beams]]
    return chosen // size, (chosen % size).astype(np.int32), np.take_along_axis(flat, chosen, 1)


def _kept(
    best: tuple[np.ndarray, np.ndarray, np.ndarray], ended: np.ndarray, scores: np.ndarray, end: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put each beam that had ended in the place of the candidate at its own rank."""
    sources, words, values = best
    ranks = np.arange(ended.shape[1])
    return np.where(ended, ranks, sources), np.where(ended, np.int32(end), words), np.where(ended, scores, values)


def _ranked(sources: np.ndarray, words: np.ndarray, values: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order the beams of each image: those that go on by their value, then those that have ended."""
    order = np.argsort(-np.where(words == end, UNLIKELY, values), axis=1, kind="stable")
    sources, words, values = (np.take_along_axis(one, order, 1) for one in (sources, words, values))
    return sources, words, values


def _exclude(total: np.ndarray, written: np.ndarray, rules: Rules) -> None:
    """Make the words that the rules exclude after what is written [n, W, t] impossible."""
    if rules.never:
        total[:, :, list(rules.never)] = -np.inf
    if rules.no_repeats:
        images, beams, words = third_times(written)
        total[images, beams, words] = -np.inf


def third_times(written: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the words with which something of up to LONGEST_REPEATED pieces would stand three times in a row.

    Args:
        written: the pieces of each beam, int [n, W, t].

    Returns:
        The image, the beam and the word of each, three arrays [k].
    """
    found = []
    for size in range(1, LONGEST_REPEATED + 1):
        tail = written[:, :, written.shape[2] - (3 * size - 1) :] if written.shape[2] >= 3 * size - 1 else None
        if tail is not None:
            images, beams = np.nonzero((tail[:, :, : 2 * size - 1] == tail[:, :, size:]).all(2))
            found.append((images, beams, tail[images, beams, -size]))
    none = np.empty(0, np.int64)
    images, beams, words = (np.concatenate([none, *(one[axis] for one in found)]) for axis in range(3))
    return images, beams, words


def _found(ids: np.ndarray, score: np.float32, length: np.int64, ended: np.bool_) -> Found:
    return Found(ids[: int(length) - bool(ended)].tolist(), float(score), bool(ended))
