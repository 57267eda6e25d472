"""Several processes encode as one encoder does."""

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
    """Kills its process when it gets the photo of colour (77, 77, 77)."""

    def encode_images(self, images):
        if (images == 77).all((1, 2, 3)).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_images(images)


class UnevenEncoder(FakeEncoder):
    """Is slower in process 0, so that batches end in another order than they began."""

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


def several_devices(kind=FakeEncoder, devices=2):
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
    """The files of every segment by name, in the order of the segments."""
    folders = sorted((home.path / "collections" / "walls" / "segments").iterdir())
    return [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]


def test_several_processes_give_the_numbers_of_one_encoder():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    with several_devices() as encoder:
        found, texts = encoder.encode_images(images), encoder.encode_texts(["a red wall", "蓝"])
    alone = FakeEncoder().encode_images(images)
    np.testing.assert_array_equal(found.vectors, alone.vectors)
    np.testing.assert_array_equal(found.tokens, alone.tokens)
    np.testing.assert_array_equal(texts.vectors, FakeEncoder().encode_texts(["a red wall", "蓝"]).vectors)


def test_an_index_has_the_same_ids_segments_and_bytes_as_with_one_device(photos, tmp_path):
    one, two = Home(tmp_path / "one"), Home(tmp_path / "two")
    build_index(one, "walls", open_source(photos), FakeEncoder(), workers=0)
    with several_devices(UnevenEncoder) as encoder:
        summary = build_index(two, "walls", open_source(photos), encoder, workers=0)
    assert (summary.images, summary.captions) == (20, 40)
    assert contents(one) == contents(two) and len(contents(one)) == 3


def test_a_process_that_dies_is_one_error_and_finished_segments_stay(photos, tmp_path):
    save_photo(photos / "14.png", (77, 77, 77), (12, 8))
    home = Home(tmp_path / "home")
    with (
        several_devices(DyingEncoder) as encoder,
        pytest.raises(DeviceLost, match="device [01] ended .exit code -9"),
    ):
        build_index(home, "walls", open_source(photos), encoder, workers=0)
    summary = build_index(home, "walls", open_source(photos), FakeEncoder(), workers=0)
    assert summary.resumed == 12 and summary.images == 20


def test_errors_of_opening_are_raised():
    with pytest.raises(BadCheckpoint, match="There is no model for 0"):
        MultiDeviceEncoder(refused, FakeConfig(), WEIGHTS, 2)
