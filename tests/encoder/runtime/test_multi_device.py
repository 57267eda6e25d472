"""Several processes that encode as if they were one."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import numpy as np
import pytest

from encoder.errors import BadCheckpoint, DeviceLost
from encoder.runtime.multi_device import MultiDeviceEncoder
from indexer import build_index, open_source
from storage import Home
from tests.support.fakes import FakeConfig, FakeEncoder, save_photo

WEIGHTS = FakeEncoder().fingerprint


class DyingEncoder(FakeEncoder):
    """Its process is killed when it sees the photo of this colour."""

    def encode_images(self, images):
        if (images == 77).all((1, 2, 3)).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_images(images)


class UnevenEncoder(FakeEncoder):
    """The first of the processes takes longer, so that batches are done in another order than they were begun."""

    def __init__(self, number):
        super().__init__()
        self._number = number

    def encode_images(self, images):
        time.sleep(0 if self._number else 0.05)
        return super().encode_images(images)


def opened(kind, number):
    return kind(number) if kind is UnevenEncoder else kind()


def refused(number):
    raise BadCheckpoint(f"There is no model for {number}.")


def sharded(kind=FakeEncoder, devices=2):
    return MultiDeviceEncoder(partial(opened, kind), FakeConfig(), WEIGHTS, devices)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setattr("indexer.segment_filler.IMAGE_BATCH", 3)
    monkeypatch.setattr("indexer.segment_filler.TEXT_BATCH", 4)
    monkeypatch.setattr("indexer.segment_filler.SEGMENT_IMAGES", 9)
    for number in range(20):
        path = save_photo(tmp_path / "photos" / f"{number:02}.png", (number * 11, 40, 9), (12, 8))
        path.with_suffix(".txt").write_text(f"photo {number}\nagain {number}")
    return tmp_path / "photos"


def contents(home):
    """Every byte of every segment that doesn't name the segment, in the order of the segments."""
    folders = sorted((home.path / "collections" / "walls" / "segments").iterdir())
    return [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]


def test_the_answers_are_those_of_one_encoder():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    with sharded() as encoder:
        found, texts = encoder.encode_images(images), encoder.encode_texts(["a red wall", "蓝"])
    alone = FakeEncoder().encode_images(images)
    np.testing.assert_array_equal(found.vectors, alone.vectors)
    np.testing.assert_array_equal(found.tokens, alone.tokens)
    np.testing.assert_array_equal(texts.vectors, FakeEncoder().encode_texts(["a red wall", "蓝"]).vectors)


def test_ids_segments_and_bytes_are_those_of_one_device(photos, tmp_path):
    one, two = Home(tmp_path / "one"), Home(tmp_path / "two")
    build_index(one, "walls", open_source(photos), FakeEncoder(), workers=0)
    with sharded(UnevenEncoder) as encoder:
        summary = build_index(two, "walls", open_source(photos), encoder, workers=0)
    assert (summary.images, summary.captions) == (20, 40)
    assert contents(one) == contents(two) and len(contents(one)) == 3


def test_a_process_that_dies_is_one_clear_error_and_what_was_written_stays(photos, tmp_path):
    save_photo(photos / "14.png", (77, 77, 77), (12, 8))
    home = Home(tmp_path / "home")
    with sharded(DyingEncoder) as encoder, pytest.raises(DeviceLost, match="device [01] ended .exit code -9.*again to go on"):
        build_index(home, "walls", open_source(photos), encoder, workers=0)
    summary = build_index(home, "walls", open_source(photos), FakeEncoder(), workers=0)
    assert summary.resumed == 12 and summary.images == 20


def test_what_opening_raises_is_raised():
    with pytest.raises(BadCheckpoint, match="There is no model for 0"):
        MultiDeviceEncoder(refused, FakeConfig(), WEIGHTS, 2)
