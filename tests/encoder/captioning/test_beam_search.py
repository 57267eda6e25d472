"""The search finds what the specified one finds, written anew beam by beam, and never what its rules exclude."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.captioning.beam_search import NO_RULES, Found, Rules, search, third_times
from tests.support.numpy_captioners import log_softmax, published_search

WORDS = 9
Table = Callable[[list[int]], np.ndarray]


def table(seed: int, sharpness: float = 1.0, end: float = 0.0) -> Table:
    """Log-probabilities that depend on all words before; `end` is what the end's logit is more than the others'."""

    def scores(ids: list[int]) -> np.ndarray:
        logits = np.random.default_rng([seed, zlib.crc32(bytes(ids))]).normal(0, sharpness, WORDS)
        logits[0] += end
        return log_softmax(logits).astype(np.float32)

    return scores


class Tables:
    """`NextWord` of a table for each image; keeps the words of each beam, as keys and values are kept."""

    def __init__(self, tables: list[Table], beams: int):
        self.tables, self.steps = tables, 0
        self.kept: list[list[list[int]]] = [[[] for _ in range(beams)] for _ in tables]

    def __call__(self, words: np.ndarray, sources: np.ndarray) -> np.ndarray:
        self.steps += 1
        self.kept = [
            [[*kept[source], word] for source, word in zip(own_sources, own_words, strict=True)]
            for kept, own_sources, own_words in zip(self.kept, sources.tolist(), words.tolist(), strict=True)
        ]
        return np.array(
            [[scores(ids) for ids in kept] for scores, kept in zip(self.tables, self.kept, strict=True)], np.float32
        )


def found_by(tables: list[Table], beams: int, steps: int = 8, rules: Rules = NO_RULES) -> list[Found]:
    return search(Tables(tables, beams), [0] * len(tables), 0, steps, beams, rules)


@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([0.3, 1.0, 3.0]), st.sampled_from([-2.0, 0.0, 2.0]))
def test_it_is_the_published_search(seed, beams, sharpness, end):
    scores = table(seed, sharpness, end)
    ids, log_probability = published_search(scores, 8, beams)
    (found,) = found_by([scores], beams)
    assert found.ids == ids
    assert found.log_probability == pytest.approx(log_probability, abs=1e-4)


def test_one_beam_is_greedy():
    scores, ids = table(1, end=-1.0), [0]
    while len(ids) < 9 and (len(ids) == 1 or ids[-1] != 0):
        ids.append(int(np.argmax(scores(ids))))
    assert found_by([scores], 1)[0].ids == [word for word in ids[1:] if word]


@given(st.lists(st.integers(0, 10**6), max_size=5), st.integers(1, 4))
def test_images_don_t_touch_each_other(seeds, beams):
    tables = [table(seed, end=1.0) for seed in seeds]
    assert found_by(tables, beams) == [found_by([scores], beams)[0] for scores in tables]


def test_it_stops_when_all_beams_have_ended():
    quick = table(3, end=9.0)
    tables = Tables([quick], 3)
    found = search(tables, [0], 0, 50, 3)
    assert tables.steps < 50
    assert (found[0].ids, pytest.approx(found[0].log_probability, abs=1e-4)) == published_search(quick, 50, 3)


def test_the_log_probability_is_the_sum_with_the_end_and_without_the_penalty():
    scores = table(4, end=2.0)
    (found,) = found_by([scores], 4)
    assert found.ended
    ids = [0, *found.ids, 0]
    assert found.log_probability == pytest.approx(sum(scores(ids[:i])[ids[i]] for i in range(1, len(ids))), abs=1e-4)


def test_a_caption_that_did_not_end_is_one_too():
    (found,) = found_by([table(5, end=-50.0)], 2)
    assert not found.ended and len(found.ids) == 8


@pytest.mark.parametrize("mistake", ["length without the end", "no penalty"])
def test_another_length_penalty_would_be_noticed(mistake):
    tables = [table(seed, 1.5, 0.5) for seed in range(40)]
    wrong = [published_search(scores, 8, 4, mistakes=[mistake])[0] for scores in tables]
    assert wrong != [one.ids for one in found_by(tables, 4)]


def test_a_length_that_weighs_more_favours_longer_captions():
    tables = [table(seed, 1.5, 0.5) for seed in range(40)]
    lengths = [
        sum(len(one.ids) for one in found_by(tables, 4, rules=Rules(length_weight=weight))) for weight in (0.0, 1.0, 3.0)
    ]
    assert lengths == sorted(lengths) and lengths[0] < lengths[1] < lengths[2]


@given(st.lists(st.integers(1, 3), max_size=14))
def test_third_times_are_found(written):
    found = set(third_times(np.array(written, np.int64).reshape(1, 1, -1))[2].tolist())
    expected = set()
    for word in range(1, 4):
        ids = [*written, word]
        for size in range(1, 5):
            last = ids[-3 * size :]
            if len(last) == 3 * size and last == last[:size] * 3:
                expected.add(word)
    assert found == expected


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_nothing_stands_three_times_in_a_row_where_that_is_a_rule(seed, beams):
    stubborn = table(seed, 0.5, -9.0)

    def scores(ids: list[int]) -> np.ndarray:
        again = np.zeros(WORDS, np.float32)
        again[ids[-1]] = again[ids[-2 % len(ids)]] = 5.0
        return (stubborn(ids) + again).astype(np.float32)

    (found,) = found_by([scores], beams, 14, Rules((), True))
    for size in range(1, 5):
        for at in range(len(found.ids) - 3 * size + 1):
            part = found.ids[at : at + 3 * size]
            assert part != part[:size] * 3


def test_what_is_never_written_is_not():
    tables = [table(seed, end=-2.0) for seed in range(20)]
    assert any(5 in one.ids or 6 in one.ids for one in found_by(tables, 3))
    assert not any(5 in one.ids or 6 in one.ids for one in found_by(tables, 3, rules=Rules((5, 6))))


def test_no_images_no_captions():
    assert found_by([], 4) == []
