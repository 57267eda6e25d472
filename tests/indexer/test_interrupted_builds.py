"""Tests of interrupted runs, and of the runs after them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import indexer.segment_filler
from indexer import build_index, open_source
from storage import Home
from tests.support.fakes import FakeEncoder, save_photo
from tests.support.storage_examples import damaged_segments

ROOT = Path(__file__).parents[2]
SLOW_RUN = """
import sys, time
sys.path[:0] = [{root!r}, {tests!r}]
import indexer.segment_filler
from tests.support.fakes import FakeEncoder
from indexer import build_index, open_source
from storage import Home

class SlowEncoder(FakeEncoder):
    def encode_images(self, pixels):
        time.sleep(0.15)
        return super().encode_images(pixels)

if __name__ == "__main__":
    indexer.segment_filler.IMAGE_BATCH = 2
    indexer.segment_filler.SEGMENT_IMAGES = 4
    build_index(Home({home!r}), "walls", open_source({photos!r}), SlowEncoder(), workers={workers})
"""


class StoppingEncoder(FakeEncoder):
    """Raises an error after `after` photos."""

    def __init__(self, error, after):
        super().__init__()
        self.error, self.left = error, after

    def encode_images(self, pixels):
        if self.left <= 0:
            raise self.error
        self.left -= len(pixels)
        return super().encode_images(pixels)


@pytest.fixture
def photos(tmp_path):
    for number in range(20):
        save_photo(tmp_path / "photos" / f"{number}.png", (number * 12, 50, 250 - number * 12))
        (tmp_path / "photos" / f"{number}.txt").write_text(f"photo number {number}")
    return tmp_path / "photos"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(indexer.segment_filler, "IMAGE_BATCH", 2)
    monkeypatch.setattr(indexer.segment_filler, "SEGMENT_IMAGES", 4)


def build(home, photos, encoder=None, **options):
    return build_index(home, "walls", open_source(photos), encoder or FakeEncoder(), workers=0, **options)


def assert_whole(home, count=20):
    """Every photo once, with its own pixels' tokens and its own caption."""
    snapshot = home.collection("walls").open_snapshot()
    assert damaged_segments(home.collection("walls")) == {}
    assert snapshot.image_count == snapshot.caption_count == count
    for image in snapshot.images(snapshot.image_ids()):
        number = int(Path(image.uri).stem)
        assert snapshot.tokens([image.image_id])[0, 0, 0] * 255 == pytest.approx(number * 12, abs=0.5)
        assert [c.text for c in snapshot.captions_of([image.image_id])[image.image_id]] == [f"photo number {number}"]
    assert len({image.uri for image in snapshot.images(snapshot.image_ids())}) == count
    assert list((home.path / "collections" / "walls").rglob(".tmp*")) == []


def test_a_failing_encoder_loses_only_its_batch(home, photos):
    with pytest.raises(RuntimeError, match="out of memory"):
        build(home, photos, StoppingEncoder(RuntimeError("out of memory"), after=10))
    assert [run.state for run in home.catalog.runs("walls")] == ["failed"]
    encoder = FakeEncoder()
    summary = build(home, photos, encoder)
    assert (summary.added, summary.resumed, summary.unchanged) == (20, 10, 0)
    assert sum(count for name, count in encoder.calls if name == "encode_images") == 10
    assert_whole(home)


def test_ctrl_c_keeps_what_was_encoded(home, photos):
    with pytest.raises(KeyboardInterrupt):
        build(home, photos, StoppingEncoder(KeyboardInterrupt(), after=10))
    assert [run.state for run in home.catalog.runs("walls")] == ["interrupted"]
    summary = build(home, photos)
    assert (summary.added, summary.resumed) == (20, 10)
    assert_whole(home)


def test_a_photo_that_changed_since_the_interruption_is_encoded_again(home, photos):
    with pytest.raises(KeyboardInterrupt):
        build(home, photos, StoppingEncoder(KeyboardInterrupt(), after=10))
    save_photo(photos / "3.png", (36, 99, 99))
    summary = build(home, photos)
    assert (summary.added, summary.resumed, summary.images) == (20, 9, 20)
    assert_whole(home)


def test_a_change_that_was_interrupted_replaces_the_published_photo(home, photos):
    build(home, photos)
    for number in range(8):
        save_photo(photos / f"{number}.png", (number * 12, 99, 99))
    with pytest.raises(KeyboardInterrupt):
        build(home, photos, StoppingEncoder(KeyboardInterrupt(), after=4))
    assert_whole(home)
    summary = build(home, photos)
    assert (summary.images, summary.added, summary.replaced, summary.resumed, summary.unchanged) == (20, 8, 8, 4, 12)
    assert_whole(home)


def test_an_interrupted_rebuild_keeps_the_old_version_and_is_continued(home, photos):
    build(home, photos)
    encoder = StoppingEncoder(KeyboardInterrupt(), after=10)
    encoder.fingerprint = "fake000000000002"
    with pytest.raises(KeyboardInterrupt):
        build(home, photos, encoder, rebuild=True)
    assert home.collection("walls").open_snapshot().model_fingerprint == FakeEncoder().fingerprint
    before = {i.uri: i.image_id for i in home.collection("walls").open_snapshot().images(range(1, 21))}
    summary = build(home, photos, FakeEncoder("fake000000000002"), rebuild=True)
    assert (summary.images, summary.resumed) == (20, 10)
    snapshot = home.collection("walls").open_snapshot()
    assert {i.uri: i.image_id for i in snapshot.images(snapshot.image_ids())} == before
    assert_whole(home)


def start(home, photos, tmp_path, workers):
    script = tmp_path / "run.py"
    values = {"root": str(ROOT), "tests": str(ROOT / "tests"), "home": str(home.path), "photos": str(photos)}
    script.write_text(SLOW_RUN.format(**values, workers=workers))
    return subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stderr=subprocess.PIPE)


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def children_of(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in listed.read_text().split()]


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.25])
def test_a_killed_run_is_continued(home, photos, tmp_path, delay):
    """After SIGKILL while segments are being written, nothing is published and nothing that was encoded is lost."""
    run = start(home, photos, tmp_path, workers=0)
    segments = home.path / "collections" / "walls" / "segments"
    wait_for(lambda: len(list(segments.glob("0*/segment.json"))) >= 1)
    time.sleep(delay)
    run.kill()
    run.communicate()
    assert home.collection("walls").manifest.version == 0
    summary = build(home, photos)
    assert summary.resumed >= 4
    assert [record.state for record in home.catalog.runs("walls")] == ["done", "interrupted"]
    assert_whole(home)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts processes in /proc")
def test_worker_processes_end_with_a_killed_run(home, photos, tmp_path):
    run = start(home, photos, tmp_path, workers=2)
    segments = home.path / "collections" / "walls" / "segments"
    wait_for(lambda: len(list(segments.glob("0*/segment.json"))) >= 1)
    workers = children_of(run)
    assert len(workers) >= 2
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    wait_for(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers))
    build(home, photos)
    assert_whole(home)
