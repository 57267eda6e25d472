"""Tests of the query benchmark with a fake encoder: it measures a real collection and prints every row."""

from __future__ import annotations

import numpy as np

from benchmarks import query
from benchmarks.synthetic import SEGMENT, bytes_needed, write_collection
from tests.support.fakes import FakeConfig, FakeEncoder
from tests.support.storage_examples import damaged_segments


def test_a_synthetic_collection_is_valid_and_takes_no_more_than_bytes_needed(tmp_path):
    count = SEGMENT + 50
    collection = write_collection(tmp_path, FakeEncoder(), count, seed=3)
    snapshot = collection.open_snapshot()

    assert (snapshot.image_count, snapshot.caption_count, snapshot.version) == (count, count, 1)
    assert damaged_segments(collection) == {}
    vectors = snapshot.image_vectors(snapshot.image_ids())
    assert len(np.unique(vectors, axis=0)) == count and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-2)
    assert snapshot.tokens([1, count]).shape == (2, *FakeConfig().token_shape)
    big = FakeConfig(dim=512, token_shape=(50, 384))
    assert bytes_needed(query.COCO, big) > query.COCO * 2 * (50 * 384 + 4 * 512)


def test_sentences_never_repeat_and_there_are_enough():
    sentences = query.Sentences().take(1300)
    assert len(set(sentences)) == 1300 and all(5 <= len(text.split()) <= 14 for text in sentences)


def test_every_row_is_printed(tmp_path, capsys):
    encoder = FakeEncoder()
    write_collection(tmp_path, encoder, 300)
    service = query.ready_service(tmp_path, encoder)
    sentences = query.Sentences()

    query.measure_service(service, sentences, 10)
    query.measure_by_hand(tmp_path, encoder, sentences, 10, 300)

    printed = capsys.readouterr().out
    for row in (
        "first query once it is ready",
        "re-ranked 0, one client",
        "re-ranked 32, 8 clients",
        "times one client's",
        "within 50 ms",
        "asked again",
        "FAISS alone",
    ):
        assert row in printed
