"""Photos that are found for every query."""

from __future__ import annotations

import numpy as np
import pytest

from search.evaluation.hubness import hub_lines, measure_hubness, skewness
from tests.support.fakes import FakeEncoder
from tests.support.galleries import COLOURFUL, Shot, build_gallery


class HubEncoder(FakeEncoder):
    """Everything is different, but the black photo lies in the middle of all captions."""

    def _vectors(self, colours):
        colours = np.asarray(colours).astype(int)
        rows = [np.random.default_rng(int(c.sum()) + 1).standard_normal(self.config.dim) + 3 for c in colours]
        rows = [np.ones(self.config.dim) if c.sum() < 20 else row for c, row in zip(colours, rows, strict=True)]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


SHOTS = [Shot(f"{i}.png", (3 * i + 40, 60, 60), captions=[("en", f"number {i}")]) for i in range(60)]
SHOTS.append(Shot("hub.png", "black"))


def test_the_photo_in_the_middle_is_a_hub(tmp_path):
    encoder = HubEncoder()
    report = measure_hubness(build_gallery(tmp_path, SHOTS, encoder).open_snapshot(), k=3)

    assert (report["queries"], report["k"], report["expected"]) == (60, 3, round(60 * 3 / 61, 2))
    first = report["hubs"][0]
    assert first["uri"].endswith("hub.png") and first["times"] > 40 and first["share"] == round(100 * first["times"] / 60, 2)
    assert report["skewness"] > 2 and 0 <= report["unseen"] < 100
    assert any("hub.png" in line for line in hub_lines(report))


def test_a_photos_own_captions_do_not_count(tmp_path):
    shots = [Shot("red.png", "red", captions=[("en", "red")] * 9), Shot("b.png", "blue")]
    snapshot = build_gallery(tmp_path, shots).open_snapshot()
    counts = {hub["id"]: hub["times"] for hub in measure_hubness(snapshot, k=1)["hubs"]}
    assert 1 not in counts


def test_the_queries_are_a_seeded_sample(tmp_path):
    snapshot = build_gallery(tmp_path).open_snapshot()
    assert measure_hubness(snapshot, queries=5)["queries"] == 5 and measure_hubness(snapshot, queries=5) == measure_hubness(
        snapshot, queries=5
    )


@pytest.mark.parametrize("shots", [[COLOURFUL[-1]], [COLOURFUL[0]], COLOURFUL[-1:] * 2])
def test_without_captions_or_with_one_photo_there_are_no_hubs(tmp_path, shots):
    report = measure_hubness(build_gallery(tmp_path, shots).open_snapshot())
    assert report["hubs"] == [] and report["skewness"] == 0 and list(hub_lines(report))


def test_skewness():
    assert skewness(np.array([3, 3, 3])) == 0 == skewness(np.array([]))
    assert skewness(np.array([1, 2, 3])) == pytest.approx(0)
    assert skewness(np.array([0, 0, 0, 4])) == pytest.approx(1.1547, abs=1e-4)
