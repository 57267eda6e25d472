from __future__ import annotations

import json

import numpy as np
import pytest

from search.errors import SearchError, TooFewPhotos
from search.evaluation.evaluate import evaluate
from search.evaluation.unanswerable import plan
from tests.support.fakes import FakeConfig, FakeEncoder
from tests.support.galleries import COLOURFUL, Shot, build_gallery

CALIBRATED = FakeConfig(match_calibration=(1.0, 0.0, -0.2))


class ConstantEncoder(FakeEncoder):
    """Finds that everything fits everything."""

    def match(self, texts, tokens):
        return np.full(max(len(texts), len(tokens)), 9.0, np.float32)

    def _vectors(self, colours):
        return np.tile(np.eye(1, self.config.dim, dtype=np.float32), (len(colours), 1))


@pytest.fixture
def snapshot(tmp_path):
    return build_gallery(tmp_path).open_snapshot()


def test_scores_separate_photos_that_are_left_out_from_those_that_stay(snapshot):
    report = evaluate(snapshot, FakeEncoder(config=CALIBRATED), rerank=(0, 4), absent=2)

    assert report["relevance"] == [
        {
            "language": language, "rerank": 4, "present": 2, "absent": 2, "auc": 1.0, "auc_ci": [1.0, 1.0],
            "present_shares": {"strong": 100.0, "weak": 0.0, "none": 0.0},
            "absent_shares": {"strong": 0.0, "weak": 0.0, "none": 100.0},
        }
        for language in ("en", "zh")
    ]  # fmt: skip
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize("rerank", [(0,), (4,)])
def test_without_probabilities_the_best_score_counts(snapshot, rerank):
    config = FakeConfig() if rerank[0] else CALIBRATED

    (row,) = evaluate(snapshot, FakeEncoder(config=config), rerank=rerank, languages=("en",), absent=2)["relevance"]

    assert row["auc"] == 1 and row["rerank"] == rerank[0]
    assert row["present_shares"] is row["absent_shares"] is None


def test_an_encoder_that_finds_everything_alike_is_at_chance(tmp_path):
    encoder = ConstantEncoder(config=CALIBRATED)
    shots = [Shot(f"{i}.png", (i, i, i), captions=[("en", f"photo number {i}")]) for i in range(20)]
    snapshot = build_gallery(tmp_path, shots, encoder).open_snapshot()

    (row,) = evaluate(snapshot, encoder, languages=("en",), absent=10)["relevance"]

    assert row["auc"] == 0.5 and row["auc_ci"] == [0.5, 0.5]
    assert row["absent_shares"]["strong"] == 100


def test_recall_is_measured_with_all_photos(snapshot):
    plain, with_absent = (evaluate(snapshot, FakeEncoder(), rerank=(4,), absent=n)["results"] for n in (0, 2))

    assert [row["R@1"] for row in with_absent] == [row["R@1"] for row in plain] == [100] * 4


def test_without_absent_there_is_no_trial(snapshot):
    assert "relevance" not in evaluate(snapshot, FakeEncoder(), rerank=(0,))


def test_a_language_without_captions_is_skipped(snapshot):
    report = evaluate(snapshot, FakeEncoder(), rerank=(4,), languages=("fr", "zh"), absent=1)

    assert [row["language"] for row in report["relevance"]] == ["zh"]


def test_photos_and_captions_are_chosen_by_the_seed(snapshot):
    def chosen(seed):
        trial = plan(snapshot, "en", 2, seed)
        return trial.left_out.tolist(), trial.absent, trial.present

    assert chosen(0) == chosen(0)
    assert len({str(chosen(seed)) for seed in range(8)}) > 1


def test_present_photos_are_not_left_out_and_each_photo_has_one_of_its_own_captions(snapshot):
    trial = plan(snapshot, "en", 2, seed=5)

    owners = {text: i for i, shot in enumerate(COLOURFUL, 1) for _, text in shot.captions}
    assert [owners[text] for text in trial.absent] == trial.left_out.tolist()
    assert len(trial.present) == 2 and not {owners[text] for text in trial.present} & set(trial.left_out.tolist())


def test_too_many_absent_photos_are_refused_with_the_largest_number(snapshot):
    with pytest.raises(TooFewPhotos) as refused:
        evaluate(snapshot, FakeEncoder(), absent=3)

    assert isinstance(refused.value, SearchError)
    assert str(refused.value) == ("Leaving out 3 photos, with as many that stay, needs 6 with captions in en, and there are 5")


def test_a_single_photo_cannot_be_left_out(tmp_path):
    snapshot = build_gallery(tmp_path, [Shot("a.png", "red", captions=[("en", "red")])]).open_snapshot()

    with pytest.raises(TooFewPhotos, match="Leaving out . photos?"):
        evaluate(snapshot, FakeEncoder(), absent=1)


def test_progress_counts_these_queries_too(snapshot):
    seen = []

    evaluate(snapshot, FakeEncoder(), rerank=(0,), absent=2, progress=lambda *args: seen.append(args))

    assert seen == [(i, 23) for i in range(1, 24)]
