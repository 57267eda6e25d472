"""Which photos are searched together, and how many captions of each take part."""

from __future__ import annotations

import numpy as np
import pytest

from search.errors import TooFewForProtocol
from search.evaluation.evaluate import evaluate
from search.evaluation.metrics import mean_over_folds, recall_at_k
from search.evaluation.protocols import PROTOCOLS, Protocol, caption_folds, image_folds
from tests.support.fakes import FakeEncoder
from tests.support.galleries import Shot, build_gallery


def test_coco_1k_is_five_folds_of_consecutive_photos():
    ids = np.arange(101, 5112)
    folds = image_folds(ids, "coco-1k", PROTOCOLS["coco-1k"])
    assert [len(fold) for fold in folds] == [1000] * 5 and np.concatenate(folds).tolist() == list(range(101, 5101))
    (whole,) = image_folds(ids, "coco-5k", PROTOCOLS["coco-5k"])
    assert whole.tolist() == list(range(101, 5101))
    (everything,) = image_folds(ids, "all", PROTOCOLS["all"])
    assert everything.tolist() == ids.tolist()


@pytest.mark.parametrize("name", ["coco-5k", "coco-1k"])
def test_too_few_photos_are_refused(name):
    with pytest.raises(TooFewForProtocol, match=f"{name} needs 5000 photos, and there are 4999"):
        image_folds(np.arange(4999), name, PROTOCOLS[name])


def test_the_first_captions_of_a_photo_count():
    owners = np.array([1, 2, 1, 1, 3, 2, 1, 4])
    folds = caption_folds(np.arange(10, 18), owners, [np.array([1, 2]), np.array([3])], Protocol(captions=2))
    assert [fold.tolist() for fold in folds] == [[10, 11, 12, 15], [14]]
    (everything,) = caption_folds(np.arange(10, 18), owners, [np.array([1, 2, 3, 4])], Protocol())
    assert everything.tolist() == list(range(10, 18))


def test_the_mean_over_folds_is_not_the_mean_over_queries():
    ranks, folds = np.array([1, 1, 1, 9]), np.array([0, 0, 0, 1])
    assert mean_over_folds(ranks, folds, 5) == 50 and recall_at_k(ranks, 5) == 75
    assert mean_over_folds(ranks, np.zeros(4), 5) == 75


def test_each_fold_is_searched_by_itself(tmp_path, monkeypatch):
    """Photo 3 looks like photo 0, but is in another fold, so that it is no competitor."""
    monkeypatch.setitem(PROTOCOLS, "threes", Protocol(images=6, fold=3, captions=1))
    encoder, colours = FakeEncoder(), ["red", "green", "blue", "red", "yellow", "white", "red"]
    shots = [Shot(f"{i}.png", colour, captions=[("en", colour), ("en", "black")]) for i, colour in enumerate(colours)]
    snapshot = build_gallery(tmp_path, shots, encoder).open_snapshot()

    report = evaluate(snapshot, encoder, rerank=(0, 2), languages=("en",), protocol="threes")
    together = evaluate(snapshot, encoder, rerank=(0,), languages=("en",))

    assert (report["folds"], report["protocol"], together["folds"]) == (2, "threes", 1)
    assert [(row["queries"], row["R@1"]) for row in report["results"]] == [(6, 100.0)] * 4
    assert together["results"][0]["queries"] == 14 and together["results"][0]["R@1"] < 50
