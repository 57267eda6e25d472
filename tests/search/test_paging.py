"""Pages by cursor, and near-duplicates that are collapsed."""

from __future__ import annotations

import base64
import json
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search import BadQuery, Engine, Query
from search.errors import BadCursor, OutdatedCursor
from search.query.cursor import read_cursor, write_cursor
from search.retrieval.first_stage import retrieve
from search.retrieval.near_duplicates import collapse
from storage.vector_index.flat import FaissFlatIndex
from tests.support.fakes import FakeEncoder
from tests.support.galleries import COLOURFUL, Shot, build_gallery, ids_by_name


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """40 photos in twelve shades, so that many are alike and some files are the same."""
    shots = [Shot(f"{i}.png", (20 * (i % 12), 40, 90), captions=[("en", f"shade {i % 12}")]) for i in range(40)]
    return Engine(build_gallery(tmp_path_factory.mktemp("crowd"), shots), FakeEncoder())


def pages(engine, top, **what):
    """Every page, from the first to the last, by following cursors."""
    cursor, found = None, []
    while True:
        result = engine.search(Query(top=top, cursor=cursor, **what))
        found.append(result.hits)
        cursor = result.cursor
        if cursor is None:
            return found


@pytest.mark.parametrize("what", [
    {"text": "red"}, {"text": "red", "rerank": 0}, {"image_id": 3}, {"text": "shade 3 -blue", "to": "captions"},
    {"text": "red", "where": "id > 7"}, {"text": "red", "fold": 0.999}, {"text": "green", "fold": 1.0, "rerank": 5},
])  # fmt: skip
@pytest.mark.parametrize("top", [1, 7, 40])
def test_cursors_lead_through_the_whole_list_once(crowd, what, top):
    whole = crowd.search(Query(top=1000, **what))

    found = [hit for page in pages(crowd, top, **what) for hit in page]

    assert whole.cursor is None and len({hit.id for hit in found}) == len(found)
    assert [(hit.id, hit.rank, hit.score) for hit in found] == [(hit.id, hit.rank, hit.score) for hit in whole.hits]
    assert [hit.rank for hit in found] == list(range(1, len(found) + 1))
    if "fold" not in what:
        assert len(found) == whole.total


def test_a_page_may_be_of_any_size(crowd):
    first = crowd.search(Query(text="red", top=3))
    second = crowd.search(Query(text="red", top=30, cursor=first.cursor))
    assert [hit.rank for hit in second.hits] == list(range(4, 34))


@pytest.mark.parametrize("other", [
    {"text": "blue"}, {"text": "red -blue"}, {"text": "red", "to": "captions"}, {"text": "red", "rerank": 3},
    {"text": "red", "where": "width > 1"}, {"text": "red", "fold": 0.9}, {"image_id": 1}, {"text": "red", "image_id": 1},
    {"image": np.zeros((32, 32, 3), np.uint8)},
])  # fmt: skip
def test_a_cursor_of_another_query_is_refused(crowd, other):
    cursor = crowd.search(Query(text="red", top=3)).cursor
    with pytest.raises(BadCursor, match="belongs to another question"):
        crowd.search(Query(cursor=cursor, **other))


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "%%%",
        "é",
        "A" * 300,
        "bnVsbA",
        *(
            base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
            for content in ([1], [1, 2, 3], [1, -1, "x"], [True, 1, "x"], [1, 2**70, "x"], {"a": 1}, [[[]]])
        ),
    ],
)
def test_a_malformed_cursor_is_refused(crowd, cursor):
    with pytest.raises(BadCursor):
        crowd.search(Query(text="red", cursor=cursor))


@given(st.text(max_size=40))
def test_no_cursor_crashes(token):
    with pytest.raises(BadCursor):
        read_cursor(token, Query(text="red"), 1)


@given(st.integers(1, 2**40), st.integers(0, 2**62))
def test_a_cursor_is_read_as_it_was_written(version, offset):
    assert read_cursor(write_cursor(Query(text="red"), version, offset, 7), Query(text="red"), version) == (offset, 7)


def test_a_cursor_is_outdated_after_a_new_version(tmp_path):
    encoder = FakeEncoder()
    engine = Engine(build_gallery(tmp_path, COLOURFUL, encoder), encoder)
    cursor = engine.search(Query(text="red", top=2)).cursor
    build_gallery(tmp_path, COLOURFUL[:1], encoder)

    with pytest.raises(OutdatedCursor, match="of version 1 of the collection, and version 2 is searched now"):
        engine.search(Query(text="red", top=2, cursor=cursor))


def test_an_offset_together_with_a_cursor_is_refused():
    with pytest.raises(BadQuery, match="not both"):
        Query(text="red", offset=3, cursor="x")


def test_ties_are_settled_by_id_however_many_there_are():
    index = FaissFlatIndex(4)
    index.add(np.arange(1, 6001), np.tile(np.eye(1, 4, dtype=np.float32), (6000, 1)))

    for depth in (1, 10, 3000, 6000):
        assert retrieve(index, np.eye(1, 4, dtype=np.float32)[0], depth).ids.tolist() == list(range(1, depth + 1))


def test_duplicates_are_collapsed_into_the_best_of_them_and_counted(crowd):
    result = crowd.search(Query(text="red", fold=1.0, top=1000, rerank=0))

    alike = {}
    for hit in crowd.search(Query(text="red", top=1000, rerank=0)).hits:
        alike.setdefault((hit.id - 1) % 12, []).append(hit.id)
    assert {hit.id: hit.duplicates for hit in result.hits} == {first: others for first, *others in alike.values()}
    assert len(result.hits) == 12 and result.total == 40


def test_captions_with_equal_texts_are_collapsed_too(crowd):
    hits = crowd.search(Query(text="shade 3", to="captions", fold=1.0, top=100)).hits
    assert len({hit.text for hit in hits}) == len(hits) == 12 and sum(1 + len(hit.duplicates) for hit in hits) == 40


@pytest.mark.parametrize("cosine", [0.0, -1.0, 1.01, float("nan")])
def test_a_cosine_out_of_range_is_refused(cosine):
    with pytest.raises(BadQuery, match="above 0 and be at most 1"):
        Query(text="red", fold=cosine)


def greedy(vectors, keys, threshold):
    """As the docstring of `collapse` says it."""
    into = []
    for i in range(len(vectors)):
        before = [j for j in range(i) if into[j] == j]
        same = {into[j] for j in range(i) if j == keys.index(keys[i])}
        near = [j for j in before if vectors[j] @ vectors[i] >= threshold or j in same]
        into.append(near[0] if near else i)
    return into


@settings(max_examples=80)
@given(st.integers(0, 10**6), st.integers(0, 30), st.floats(0.1, 1), st.sampled_from([1, 4, 256]))
def test_collapsing_agrees_with_its_definition_and_ignores_later_candidates(seed, count, threshold, block):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    keys = rng.integers(0, 20, count).tolist()

    with patch("search.retrieval.near_duplicates.BLOCK", block):
        into = collapse(vectors, keys, threshold)
        assert into.tolist() == greedy(vectors, keys, threshold)
        for end in range(count):
            assert collapse(vectors[:end], keys[:end], threshold).tolist() == into[:end].tolist()


def test_a_page_beyond_the_list_is_empty(crowd):
    for deep in (Query(text="red", offset=2**60), Query(text="red", offset=9000, fold=0.9)):
        result = crowd.search(deep)
        assert result.hits == [] and result.cursor is None and result.reranked == 32


def test_collapsing_too_deep_is_refused():
    with pytest.raises(BadQuery, match="folded in the first 10000 hits only: go on without folding, or narrow"):
        Query(text="red", offset=9_995, fold=0.9)


def test_pairs_are_scored_once_however_deep_collapsing_looks(tmp_path):
    encoder = FakeEncoder()
    engine = Engine(build_gallery(tmp_path, [Shot(f"{i}.png", "red") for i in range(30)] + COLOURFUL[1:], encoder), encoder)
    encoder.calls.clear()

    hits = engine.search(Query(text="red", fold=1.0, top=4, rerank=2)).hits

    assert encoder.calls == [("encode_texts", 1), ("match", 2)]
    assert hits[0].id in ids_by_name(engine._snapshots._collection).values() and len(hits) == 4
    assert len(hits[0].duplicates) == 29
