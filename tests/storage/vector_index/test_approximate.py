"""Approximate search: measured with other queries than its own vectors, and used only if it finds what exact search finds."""

from __future__ import annotations

import json
import threading
from unittest.mock import Mock

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import storage.vector_index.selection
from storage import CaptionRecord, Home
from storage.errors import BrokenIndex, WrongShape
from storage.segments.builder import SegmentData
from storage.status import status, status_lines
from storage.vector_index.approximate import ApproximateIndex
from storage.vector_index.base import LiveIndex
from storage.vector_index.flat import FaissFlatIndex
from storage.vector_index.selection import IndexBudget, VectorRows, tuned_index
from storage.vector_index.tuning import cheapest, doubling, lists_for, recall
from storage.verification import verify
from tests.support.fakes import jpeg
from tests.support.storage_examples import image_record

DIM = 24
FACTORIES = ["IVF16,SQfp16", "HNSW16,SQfp16", "SQ8"]
IDS = st.lists(st.integers(0, 30), min_size=3, max_size=3)


def photos_and_texts(count, seed=0):
    """Unit vectors of photos in clusters, and of one text near each: apart from all photos in one direction."""
    rng = np.random.default_rng(seed)
    photos = rng.standard_normal((40, DIM))[rng.integers(40, size=count)] + 0.5 * rng.standard_normal((count, DIM))
    texts = photos + 0.7 * rng.standard_normal((count, DIM)) + 2 * rng.standard_normal(DIM)
    return [(one / np.linalg.norm(one, axis=1, keepdims=True)).astype(np.float32) for one in (photos, texts)]


def filled(index, vectors, ids=None):
    if hasattr(index, "train"):
        index.train(vectors)
    index.add(np.arange(1, len(vectors) + 1) if ids is None else ids, vectors)
    return index


# Pure functions


@given(st.lists(IDS, min_size=1, max_size=5), st.lists(IDS, min_size=5, max_size=5))
def test_recall_is_the_share_of_what_exact_search_finds(exact, found):
    exact, found = np.array(exact), np.array(found[: len(exact)])
    shares = [np.isin(wanted, row).mean() for wanted, row in zip(exact, found, strict=True)]
    assert recall(found, exact) == pytest.approx(np.mean(shares))
    assert recall(exact, exact) == 1


def test_what_is_not_there_to_be_found_is_not_missed():
    assert recall(np.array([[5, -1, -1]]), np.array([[5, -1, -1]])) == 1
    assert recall(np.array([[-1]]), np.array([[-1]])) == 1
    assert recall(np.array([[-1, -1]]), np.array([[5, -1]])) == 0


def test_the_cheapest_setting_that_is_good_enough():
    exact = np.arange(1000).reshape(100, 10)
    tried = []

    def found_with(value):
        tried.append(value)
        return np.where(np.arange(1000).reshape(100, 10) < 125 * value, exact, -1)

    assert cheapest([1, 2, 4, 8, 16], found_with, exact) == 8
    assert tried == [1, 2, 4, 8]
    assert cheapest([1, 2], found_with, exact) is None


def test_settings_to_try():
    assert (doubling(1), doubling(8), doubling(10)) == ([1], [1, 2, 4, 8], [1, 2, 4, 8, 10])
    assert [lists_for(count) for count in (0, 1, 600, 10_000, 1_000_000)] == [1, 1, 8, 256, 2048]


# An index


@pytest.mark.parametrize("factory", FACTORIES)
def test_with_all_effort_it_finds_what_exact_search_finds(factory):
    photos, texts = photos_and_texts(2000)
    index = filled(ApproximateIndex(DIM, factory), photos)
    exact = filled(FaissFlatIndex(DIM), photos).search(texts[:50], 10)[1]
    recalls = [recall(index.search(texts[:50], 10, effort=effort)[1], exact) for effort in index.efforts]
    assert recalls[-1] > 0.97
    assert recalls[0] < recalls[-1] or factory != "IVF16,SQfp16"


@pytest.mark.parametrize("factory", ["IVF16,SQfp16", "HNSW16,SQfp16"])
@pytest.mark.parametrize("allowed", [None, [3, 7, 900, 1999], list(range(1, 2000, 3)), []])
def test_filters_and_deletions_hold_whatever_the_effort(factory, allowed):
    photos, texts = photos_and_texts(2000)
    index, exact = filled(ApproximateIndex(DIM, factory), photos), filled(FaissFlatIndex(DIM), photos)
    index.effort = index.efforts[0]
    dead = exact.search(texts[:20], 3)[1].ravel()
    filters = (None if allowed is None else np.array(allowed, np.int64)), dead
    scores, found = index.search(texts[:20], 5, *filters)
    assert not np.isin(found, dead).any()
    if allowed is not None:
        np.testing.assert_array_equal(found, exact.search(texts[:20], 5, *filters)[1])
        assert np.isneginf(scores[found == -1]).all()


@pytest.mark.parametrize("factory", FACTORIES)
def test_as_many_are_found_as_there_are(factory):
    photos, texts = photos_and_texts(300)
    index = LiveIndex(filled(ApproximateIndex(DIM, factory), photos), np.array([1, 2, 3]), 297)
    scores, found = index.search(texts[:1], 310)
    assert sorted(found[0][:297]) == list(range(4, 301)) and (found[0][297:] == -1).all()
    assert (np.diff(scores[0][:297]) <= 0).all()


def test_with_an_effort_no_more_is_looked_at_and_without_one_enough_is():
    """Or a setting that finds too few would look perfect when it is tuned, because all is looked at after it."""
    photos, texts = photos_and_texts(2000)
    index = filled(ApproximateIndex(DIM, "IVF256,SQfp16"), photos)
    assert (index.search(texts[:50], 100, effort=1)[1] == -1).any()
    index.effort = 1
    assert (index.search(texts[:50], 100)[1] > 0).all()


def test_an_effort_changes_one_search_and_no_other():
    """Threads that search with different efforts at once each get what they get alone."""
    photos, texts = photos_and_texts(3000)
    index = filled(ApproximateIndex(DIM, "IVF64,SQfp16"), photos)
    alone = {effort: index.search(texts[:40], 10, effort=effort)[1] for effort in (1, 64)}
    assert (alone[1] != alone[64]).any()
    wrong = []

    def ask(effort):
        for _ in range(30):
            if (index.search(texts[:40], 10, effort=effort)[1] != alone[effort]).any():
                wrong.append(effort)

    threads = [threading.Thread(target=ask, args=(effort,)) for effort in (1, 64, 1, 64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and index._inner.nprobe == 1


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_index_comes_back_from_its_file(tmp_path, factory):
    photos, texts = photos_and_texts(500)
    index = filled(ApproximateIndex(DIM, factory), photos)
    index.effort = index.efforts[-1]
    index.save(tmp_path / "x.faiss")
    opened = ApproximateIndex.open(tmp_path / "x.faiss", index.effort)
    assert (opened.count, opened.dim) == (500, DIM)
    np.testing.assert_array_equal(opened.search(texts, 4)[1], index.search(texts, 4)[1])
    with pytest.raises(WrongShape):
        opened.search(texts[:, 1:], 4)
    (tmp_path / "x.faiss").write_bytes(b"hello")
    with pytest.raises(BrokenIndex):
        ApproximateIndex.open(tmp_path / "x.faiss", 1)


@given(count=st.integers(0, 60), lists=st.integers(1, 20), codes=st.sampled_from(["SQfp16", "SQ8"]), part=st.integers(1, 70))
@settings(deadline=None, max_examples=40)
def test_an_inverted_file_written_list_by_list_is_the_one_that_faiss_writes(count, lists, codes, part, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ivf")
    rng = np.random.default_rng(count)
    index, ids = ApproximateIndex(4, f"IVF{lists},{codes}"), rng.integers(1, 2**62, count)
    index.train(rng.standard_normal((60, 4)))
    vectors = rng.standard_normal((count, 4)).astype(np.float16)
    parts = [slice(start, start + part) for start in range(0, count, part)]
    index.write(folder / "parts", lambda: ((ids[one], vectors[one]) for one in parts))
    for one in parts:
        index.add(ids[one], vectors[one])
    index.save(folder / "whole")
    assert (folder / "parts").read_bytes() == (folder / "whole").read_bytes()


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_index_that_was_cut_is_refused(tmp_path, factory):
    photos, _ = photos_and_texts(300)
    index = filled(ApproximateIndex(DIM, factory), photos)
    index.save(tmp_path / "x.faiss")
    whole = (tmp_path / "x.faiss").read_bytes()
    for end in {*range(0, len(whole), 997), *range(len(whole) - 40, len(whole)), *range(60)}:
        (tmp_path / "x.faiss").write_bytes(whole[:end])
        with pytest.raises(BrokenIndex):
            ApproximateIndex.open(tmp_path / "x.faiss", 1)


@pytest.mark.parametrize("factory", ["IVF64,SQfp16", "HNSW16,SQfp16"])
def test_it_is_tuned_on_texts_and_measured_on_others(tmp_path, factory):
    photos, texts = photos_and_texts(5000)
    rows = VectorRows([(np.arange(1, 5001), photos, np.arange(5000))])
    index, choice = tuned_index(tmp_path / "x", factory, rows, filled(FaissFlatIndex(DIM), photos), texts[:800])
    exact = filled(FaissFlatIndex(DIM), photos).search(texts[400:800], 10)[1]
    assert choice.recall == round(recall(index.search(texts[400:800], 10)[1], exact), 4) >= 0.99
    assert (choice.queries, choice.effort, choice.kind) == (400, index.effort, "approximate")
    easy, _ = tuned_index(tmp_path / "x", factory, rows, filled(FaissFlatIndex(DIM), photos), photos[:800])
    assert easy.effort <= index.effort  # its own vectors would have promised more


# A collection


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(storage.vector_index.selection, "QUERIES", 100)


def publish(home, budget, texts_each=1, count=600):
    photos, texts = photos_and_texts(count)
    with home.create_collection("walls").writer("w") as writer:
        writer.budget = budget
        ids = [writer.new_image_id() for _ in range(count)]
        captions = [CaptionRecord(writer.new_caption_id(), id, "en", str(id), "test") for id in ids for _ in range(texts_each)]
        tokens = np.zeros((count, 1, 2), np.float16)
        vectors = np.repeat(texts, texts_each, axis=0)
        writer.add_segment(SegmentData([image_record(id) for id in ids], photos, tokens, [jpeg()] * count, captions, vectors))
        writer.publish()
    return home.collection("walls"), photos, texts


def test_a_small_collection_is_searched_exactly(tmp_path):
    collection, *_ = publish(Home(tmp_path), IndexBudget())
    choices = collection.open_snapshot().index_choices
    assert {name: (one["kind"], one["why"]) for name, one in choices.items()} == {
        "images": ("exact", "within the budget"),
        "captions": ("exact", "within the budget"),
    }


def test_beyond_the_budget_what_was_measured_is_kept_with_the_version(tmp_path, small, monkeypatch):
    monkeypatch.setattr(
        storage.vector_index.selection, "_least_ms", lambda index, queries: 5.0 if hasattr(index, "efforts") else 50.0
    )
    home = Home(tmp_path)
    collection, photos, texts = publish(home, IndexBudget(max_ms=10))
    choice = collection.open_snapshot().index_choices["images"]
    assert (choice["kind"], choice["factory"], choice["ms"], choice["exact_ms"]) == ("approximate", "IVF8,SQfp16", 5, 50)
    assert choice["recall"] >= 0.99 and choice["queries"] == 100
    report = status(home, "walls")
    report["searchable"] = True
    assert report["index"]["images"] == choice
    assert any(
        line.startswith(f"  search in images: IVF8,SQfp16, 5.0 ms in place of 50.0, finds {choice['recall']:.4f}")
        for line in status_lines(report)
    )
    with collection.writer("w") as writer:  # whoever says nothing of a budget keeps it
        writer.add_segment(more(writer))
        writer.publish()
    choice = collection.open_snapshot().index_choices["images"]
    assert (choice["kind"], choice["effort"] > 0) == ("approximate", True)
    with collection.writer("w") as writer:  # another one is enough of a change
        writer.budget = IndexBudget(max_ms=60)
        writer.publish()
        assert writer.publish().version == 3
    assert collection.open_snapshot().index_choices["images"]["kind"] == "exact"
    with collection.writer("w") as writer:
        writer.budget = IndexBudget(max_ms=10)
        writer.publish()
    assert collection.open_snapshot().index_choices["images"] == choice
    with collection.writer("w") as writer:  # a deletion leaves the index as it is, and what is deleted is not found
        best = collection.open_snapshot().image_index.search(texts[:1], 1)[1][0, 0]
        writer.tombstone(int(best))
        writer.publish()
    snapshot = collection.open_snapshot()
    assert snapshot.index_choices["images"] == choice
    assert best not in snapshot.image_index.search(texts[:1], 604)[1]


def test_damage_to_an_approximate_index_is_found(tmp_path, small, monkeypatch):
    monkeypatch.setattr(
        storage.vector_index.selection, "_least_ms", lambda index, queries: 5.0 if hasattr(index, "efforts") else 50.0
    )
    home = Home(tmp_path)
    collection, *_ = publish(home, IndexBudget(max_ms=10))
    assert verify(home, "walls")["problems"] == []
    file = collection.folder / "index" / collection.manifest.index / "images.faiss"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255  # in the codes, which nothing else is compared with
    file.write_bytes(content)
    (problem,) = verify(home, "walls")["problems"]
    assert problem["where"] == "index" and "not what was written" in problem["what"]


def more(writer):
    photos, _ = photos_and_texts(5, seed=9)
    records = [image_record(writer.new_image_id()) for _ in photos]
    return SegmentData(records, photos, np.zeros((5, 1, 2), np.float16), [jpeg()] * 5, [], np.empty((0, DIM), np.float32))


def test_a_budget_of_what_is_given():
    assert (IndexBudget.of(None, None), IndexBudget.of(0, None), IndexBudget.of(None, 0.5)) == (
        None,
        IndexBudget(0),
        IndexBudget(max_bytes=500_000_000),
    )


@pytest.mark.parametrize(
    ("texts_each", "wanted", "ms", "why"),
    [
        (0, 0.99, 5.0, "too few queries to measure anything else with"),
        (1, 1.01, 5.0, "IVF8,SQfp16 finds only"),
        (1, 0.99, 70.0, "IVF8,SQfp16 is no faster"),
    ],
)
def test_exact_search_stays_where_nothing_better_was_measured(tmp_path, small, monkeypatch, texts_each, wanted, ms, why):
    monkeypatch.setattr(storage.vector_index.selection, "WANTED_RECALL", wanted)
    monkeypatch.setattr(
        storage.vector_index.selection, "_least_ms", lambda index, queries: ms if hasattr(index, "efforts") else 50.0
    )
    collection, *_ = publish(Home(tmp_path), IndexBudget(max_ms=10), texts_each)
    choice = collection.open_snapshot().index_choices["images"]
    assert choice["kind"] == "exact" and choice["why"].startswith(why)


def test_beyond_the_memory_coarser_codes_are_measured(tmp_path, small, monkeypatch):
    budget = IndexBudget(max_ms=1e9, max_bytes=2 * 2 * 600 * DIM - 1)
    collection, *_ = publish(Home(tmp_path / "strict"), budget)
    choice = collection.open_snapshot().index_choices["images"]
    assert choice["kind"] == "exact" and choice["why"].startswith("SQ8 finds only 0.9")
    monkeypatch.setattr(storage.vector_index.selection, "WANTED_RECALL", 0.9)
    collection, photos, _ = publish(Home(tmp_path / "lax"), budget)
    choice = collection.open_snapshot().index_choices["images"]
    assert (choice["kind"], choice["factory"]) == ("approximate", "SQ8")
    file = collection.folder / "index" / "1" / "images.faiss"
    assert file.stat().st_size < photos.size * 2


def test_the_description_of_an_index_may_be_missing_but_not_damaged(tmp_path):
    """An index without a description is older than approximate indexes: it is exact."""
    collection, photos, texts = publish(Home(tmp_path), IndexBudget())
    description = collection.folder / "index" / "1" / "index.json"
    description.write_text(json.dumps({"images": {"kind": "exact"}}))
    with pytest.raises(BrokenIndex):
        collection.open_snapshot()
    description.unlink()
    assert collection.open_snapshot().image_index.search(photos[:1], 1)[1].tolist() == [[1]]


# Threads


@pytest.fixture
def two_threads():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    yield
    faiss.omp_set_num_threads(before)


def recorded_threads(index, monkeypatch):
    """A list that gets the number of threads of each FAISS search from now on."""
    seen, search = [], type(index._index).search
    monkeypatch.setattr(
        type(index._index),
        "search",
        lambda *given, **named: (seen.append(faiss.omp_get_max_threads()), search(*given, **named))[1],
    )
    return seen


@pytest.mark.parametrize("factory", [None, *FACTORIES])
def test_one_query_takes_one_thread_and_many_after_it_all(two_threads, monkeypatch, factory):
    photos, texts = photos_and_texts(800)
    index = filled(ApproximateIndex(DIM, factory) if factory else FaissFlatIndex(DIM), photos)
    seen = recorded_threads(index, monkeypatch)

    index.search(texts[:1], 5)
    assert seen[0] == 1 and faiss.omp_get_max_threads() == 2
    del seen[:]
    index.search(texts, 5)
    assert set(seen) == {2}


def test_a_search_that_fails_restores_the_number_of_threads(two_threads, monkeypatch):
    index = filled(FaissFlatIndex(DIM), photos_and_texts(20)[0])
    monkeypatch.setattr(type(index._index), "search", Mock(side_effect=RuntimeError))
    with pytest.raises(RuntimeError):
        index.search(np.ones((1, DIM), np.float32), 5)
    assert faiss.omp_get_max_threads() == 2


def test_an_index_is_tuned_with_all_threads(two_threads, tmp_path, monkeypatch):
    """Its cost is measured with one query at a time, and what comes after that isn't."""
    photos, texts = photos_and_texts(3000)
    rows, exact = VectorRows([(np.arange(1, 3001), photos, np.arange(3000))]), filled(FaissFlatIndex(DIM), photos)
    storage.vector_index.selection._least_ms(exact, texts[:3])
    seen = recorded_threads(exact, monkeypatch)

    tuned_index(tmp_path / "index", "IVF16,SQfp16", rows, exact, texts[:200])

    assert seen[0] == 2
