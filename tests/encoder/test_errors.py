"""Errors keep their message and facts when they cross between processes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from encoder.errors import BadGraphs, DeviceLost, EncoderError, NoMindSpore, NotACheckpoint, UnknownDevice, UnreadableImage


@pytest.mark.parametrize(
    "error",
    [
        UnknownDevice("There is no GPU."),
        UnreadableImage("empty", "a.jpg is empty; replace the file."),
        NoMindSpore("train"),
        DeviceLost(1, -9),
        BadGraphs(Path("model"), "there are none"),
        NotACheckpoint(Path("a.ckpt"), "is empty"),
    ],
)
def test_a_pickled_error_is_the_same(error: EncoderError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
