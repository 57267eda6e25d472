from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import BrokenIndex, WrongShape
from storage.vector_index.approximate import ApproximateIndex
from storage.vector_index.base import LiveIndex
from storage.vector_index.flat import FaissFlatIndex
from storage.vector_index.flat_file import is_flat, write_flat


def unit_vectors(count, dim=8, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def index_of(ids, vectors):
    index = FaissFlatIndex(vectors.shape[1])
    index.add(np.array(ids, np.int64), vectors)
    return index


def brute_force(query, ids, vectors, k):
    """The k best (score, id) by the same float16 codes, in plain numpy."""
    scores = vectors.astype(np.float16).astype(np.float64) @ query
    return sorted(zip(-scores, ids, strict=True))[:k]


ROUNDED = 1e-3


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1000),
    ids=st.lists(st.integers(1, 100), min_size=1, max_size=40, unique=True)
    | st.lists(st.integers(1, 2**53), min_size=1, max_size=40, unique=True),
    k=st.integers(1, 50),
    data=st.data(),
)
def test_search_equals_brute_force_under_any_filter(seed, ids, k, data):
    vectors, query = unit_vectors(len(ids), seed=seed), unit_vectors(1, seed=seed + 1)
    allowed = data.draw(st.none() | st.lists(st.sampled_from(ids)))
    excluded = data.draw(st.none() | st.lists(st.sampled_from(ids)))
    live = [i for i, id in enumerate(ids) if (allowed is None or id in allowed) and id not in (excluded or [])]
    expected = brute_force(query[0], [ids[i] for i in live], vectors[live], k)

    as_array = [None if some is None else np.array(some, np.int64) for some in (allowed, excluded)]
    scores, found = index_of(ids, vectors).search(query, k, *as_array)

    assert found.shape == scores.shape == (1, k)
    own = dict(zip(ids, vectors.astype(np.float16).astype(np.float64) @ query[0], strict=True))
    ids_found = found[0, : len(expected)].tolist()
    assert len(set(ids_found)) == len(ids_found) and set(ids_found) <= {ids[i] for i in live}
    # Some processors multiply float16 as such, and FAISS has them do it: what is nearly equal may change places.
    assert scores[0, : len(expected)] == pytest.approx([own[id] for id in ids_found], abs=ROUNDED)
    assert scores[0, : len(expected)] == pytest.approx([-score for score, _ in expected], abs=ROUNDED)
    assert (found[0, len(expected) :] == -1).all()
    assert np.isneginf(scores[0, len(expected) :]).all()


def test_equal_scores_come_by_id():
    same = np.repeat(unit_vectors(1), 5, axis=0)
    _, found = index_of([50, 3, 40, 7, 21], same).search(same[:1], 5)
    assert found.tolist() == [[3, 7, 21, 40, 50]]


def test_each_query_has_its_own_row():
    vectors = unit_vectors(20)
    scores, found = index_of(range(1, 21), vectors).search(vectors[[4, 9]], 1)
    assert found.tolist() == [[5], [10]]
    assert scores == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("queries", "k"), [(2, 3), (0, 3), (2, 0)])
def test_an_empty_index_finds_nothing(queries, k):
    scores, found = FaissFlatIndex(8).search(unit_vectors(queries).reshape(queries, 8), k)
    assert found.tolist() == [[-1] * k] * queries
    assert scores.shape == (queries, k)


def test_nothing_is_found_where_nothing_is_allowed():
    _, found = index_of([1, 2], unit_vectors(2)).search(unit_vectors(1), 2, np.empty(0, np.int64))
    assert found.tolist() == [[-1, -1]]


def test_what_is_excluded_is_not_found_even_if_it_is_allowed():
    index = LiveIndex(index_of([1, 2, 3], unit_vectors(3)), np.array([2]), 2)
    assert index.count == 2
    assert set(index.search(unit_vectors(1), 3)[1][0]) == {1, 3, -1}
    assert index.search(unit_vectors(1), 3, np.array([1, 2]))[1].tolist() == [[1, -1, -1]]


@pytest.mark.parametrize(("allowed", "expected"), [(None, {3, 4, -1}), (np.array([1, 2, 3]), {3, -1})])
def test_a_search_excludes_its_own_ids_and_the_deleted_ones(allowed, expected):
    index = LiveIndex(index_of([1, 2, 3, 4], unit_vectors(4)), np.array([2]), 3)
    assert set(index.search(unit_vectors(1), 4, allowed, np.array([1]))[1][0]) == expected


def test_an_index_comes_back_from_its_file(tmp_path):
    vectors = unit_vectors(9)
    index = index_of(range(10, 19), vectors)
    index.save(tmp_path / "images.faiss")
    opened = FaissFlatIndex.open(tmp_path / "images.faiss")
    assert (opened.count, opened.dim) == (9, 8)
    assert [part.tolist() for part in opened.search(vectors, 4)] == [part.tolist() for part in index.search(vectors, 4)]


@given(count=st.integers(0, 40), dim=st.integers(1, 9), seed=st.integers(0, 99), part=st.integers(1, 50))
@settings(deadline=None)
def test_an_index_file_that_is_written_part_by_part_is_the_one_that_faiss_writes(count, dim, seed, part, tmp_path_factory):
    folder = tmp_path_factory.mktemp("flat")
    rng = np.random.default_rng(seed)
    ids, vectors = rng.integers(1, 2**62, count), rng.standard_normal((count, dim)).astype(np.float16)
    index = FaissFlatIndex(dim)
    index.add(ids, vectors)
    index.save(folder / "whole")
    parts = [slice(start, start + part) for start in range(0, count, part)]
    write_flat(folder / "parts", dim, count, (vectors[one] for one in parts), (ids[one] for one in parts))
    assert (folder / "parts").read_bytes() == (folder / "whole").read_bytes()
    opened = FaissFlatIndex.open(folder / "parts")
    assert opened.ids().tolist() == ids.tolist() and (opened.codes() == vectors).all()
    assert (opened.codes(np.arange(count)[::-1]) == vectors[::-1]).all()


def test_only_a_whole_exact_index_is_mapped(tmp_path):
    """FAISS itself would read beyond the end of one that was cut."""
    path = tmp_path / "images.faiss"
    index_of(range(1, 6), unit_vectors(5)).save(path)
    whole = path.read_bytes()
    assert is_flat(path)
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert not is_flat(path)
        with pytest.raises(BrokenIndex):
            FaissFlatIndex.open(path)
    path.write_bytes(whole + b"\0")
    assert not is_flat(path) and FaissFlatIndex.open(path).count == 5
    approximate = ApproximateIndex(8, "SQ8")
    approximate.train(unit_vectors(5))
    approximate.save(path)
    assert not is_flat(path)


def test_an_open_index_is_searched_after_its_file_was_removed(tmp_path):
    index_of(range(1, 6), unit_vectors(5)).save(tmp_path / "images.faiss")
    opened = FaissFlatIndex.open(tmp_path / "images.faiss")
    (tmp_path / "images.faiss").unlink()
    assert opened.search(unit_vectors(5), 1)[1].ravel().tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "images.faiss"
    index_of(range(1, 100), unit_vectors(99)).save(path)
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"empty": b"", "text": b"hello" * 10, "cut": whole[: len(whole) // 2]}[damage])
    with pytest.raises(BrokenIndex, match=r"images\.faiss is damaged"):
        FaissFlatIndex.open(path)


def test_vectors_of_another_width_are_refused():
    with pytest.raises(WrongShape, match=r"\[n, 8\]"):
        FaissFlatIndex(8).search(unit_vectors(1, dim=9), 1)
    with pytest.raises(WrongShape, match="2 ids for 3 vectors"):
        FaissFlatIndex(8).add(np.array([1, 2]), unit_vectors(3))
