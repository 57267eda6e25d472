"""The `.ckpt` container: files of MindSpore are read, all that is not whole is refused."""

from __future__ import annotations

import math
import struct

import mindspore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder.errors import NotACheckpoint
from encoder.importing.ckpt_file import CheckpointFile
from tests.support.ckpt_files import bfloat16, checkpoint_bytes, field, tensor, value, varint, write_checkpoint

WEIGHTS = {
    "matrix": np.arange(6000, dtype=np.float32).reshape(60, 100),
    "half": np.linspace(0, 1, 30, dtype=np.float16).reshape(2, 3, 5),
    "ids": np.arange(7, dtype=np.int32)[None],
    "scalar": np.array(0.07, np.float32),
}


def opened(path, content: bytes) -> CheckpointFile:
    path.write_bytes(content)
    return CheckpointFile(path)


def refused(path, content: bytes) -> str:
    with pytest.raises(NotACheckpoint) as error:
        opened(path, content)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("scalar_dims", [(), (0,)])
@pytest.mark.parametrize("slice_bytes", [64, 1000, 1 << 20])
def test_every_tensor_comes_back_however_it_was_split(tmp_path, slice_bytes, scalar_dims):
    path = write_checkpoint(tmp_path / "a.ckpt", WEIGHTS, slice_bytes=slice_bytes, scalar_dims=scalar_dims)
    with CheckpointFile(path) as checkpoint:
        assert checkpoint.tensors.keys() == WEIGHTS.keys()
        for name, expected in WEIGHTS.items():
            read = checkpoint.read(name)
            assert (read.dtype, read.shape, checkpoint.tensors[name].shape) == (expected.dtype, expected.shape, expected.shape)
            np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("crc_check", [False, True])
def test_what_mindspore_itself_writes_is_read(tmp_path, monkeypatch, crc_check):
    monkeypatch.setattr("mindspore.train.serialization.SLICE_SIZE", 4)  # KB, so that the matrix is split
    path = tmp_path / "own.ckpt"
    mindspore.save_checkpoint(
        [{"name": name, "data": mindspore.Tensor(data)} for name, data in WEIGHTS.items()],
        str(path),
        append_dict={"epoch_num": 3, "note": "text beside the weights"},
        crc_check=crc_check,
    )
    with CheckpointFile(path) as checkpoint:
        for name, expected in WEIGHTS.items():
            np.testing.assert_array_equal(checkpoint.read(name), expected)
        assert len(checkpoint.tensors["matrix"].parts) > 1
        assert "epoch_num" in checkpoint.tensors


def test_bfloat16_and_float64_become_float32(tmp_path):
    numbers = np.array([1.5, -2.25, 1e30, 0], np.float32)
    content = value("short", (4,), "BFloat16", bfloat16(numbers)) + value("wide", (2,), "Float64", struct.pack("<2d", 0.5, -3))
    with opened(tmp_path / "a.ckpt", content) as checkpoint:
        np.testing.assert_allclose(checkpoint.read("short"), numbers, rtol=2**-7)
        assert checkpoint.read("short").dtype == checkpoint.read("wide").dtype == np.float32
        assert checkpoint.read("wide").tolist() == [0.5, -3]


def test_packed_dims_and_unknown_fields_are_read(tmp_path):
    content = field(9, b"later") + field(7, 300) + value("a", (2, 3), "Float32", bytes(24), packed=True)
    with opened(tmp_path / "a.ckpt", content) as checkpoint:
        assert checkpoint.read("a").shape == (2, 3)


def test_a_file_that_is_cut_off_anywhere_is_refused_or_lacks_tensors(tmp_path):
    whole = checkpoint_bytes({"a": np.ones((3, 4), np.float32), "b": np.ones(5, np.float32)}, slice_bytes=16)
    for length in range(1, len(whole)):
        try:
            with opened(tmp_path / "a.ckpt", whole[:length]) as checkpoint:
                assert checkpoint.tensors.keys() == {"a"}  # cut between the two: all of the first is there
        except NotACheckpoint as error:
            assert "cut off" in str(error) or "has" in str(error)


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 200))
def test_changed_bytes_are_read_or_refused(tmp_path_factory, noise, at):
    whole = checkpoint_bytes({"a": np.ones((3, 4), np.float32), "b": np.array(1, np.int32)})
    path = tmp_path_factory.getbasetemp() / "noise.ckpt"
    for content in (noise, whole[:at] + noise[:6] + whole[at + 6 :]):
        path.write_bytes(content)
        try:
            with CheckpointFile(path) as checkpoint:
                for name, stored in checkpoint.tensors.items():
                    assert stored.dtype not in ("Float32", "Int32") or checkpoint.read(name).shape == stored.shape
        except NotACheckpoint as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b"PK\x03\x04" + bytes(99), "PyTorch"),
        (b"\x80\x02}q\x00." * 9, "pickle"),
        (b"<!doctype html><p>404</p>", "not a whole MindSpore .ckpt"),
        (field(1, varint(1 << 62)), "not a whole"),
        (b"\x0a" + varint(1 << 62), "cut off"),
        (b"\x0a" + b"\xff" * 20, "no number ends"),
        (field(1, field(2, tensor((1,), "Float32", bytes(4)))), "without a name"),
        (field(1, field(1, b"a")), "without a name or a tensor"),
        (value("a\nb", (1,), "Float32", bytes(4)), "no name"),
        (value("a" * 600, (1,), "Float32", bytes(4)), "no name"),
        (field(1, field(1, b"\xff\xfe") + field(2, tensor((1,), "Float32", bytes(4)))), "no name"),
        (value("a", (1,) * 20, "Float32", bytes(4)), "dimensions"),
        (value("a", (2**63 - 1, 2**63 - 1), "Float32", bytes(4)), "has 4 bytes"),
        (value("a", (2**64 - 1,), "Float32", bytes(4)), "has 4 bytes"),
        (value("a", (3,), "Float32", bytes(16)), "has 16 bytes where Float32 [3] has 12"),
        (
            value("a", (2,), "Float32", bytes(8)) + value("b", (1,), "Int8", b"1") + value("a", (2,), "Float32", bytes(8)),
            "twice",
        ),
        (value("a", (4,), "Float32", bytes(8)) + value("a", (2, 2), "Float32", bytes(8)), "twice"),
    ],
)
def test_hostile_and_foreign_files_are_one_line(tmp_path, content, message):
    assert message in refused(tmp_path / "a.ckpt", content)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "nowhere.ckpt", tmp_path):
        with pytest.raises(NotACheckpoint, match="cannot be read"):
            CheckpointFile(path)


def test_opening_reads_no_tensor(tmp_path):
    import tracemalloc

    big = np.zeros((4096, 1024), np.float32)
    path = write_checkpoint(tmp_path / "a.ckpt", {"big": big}, slice_bytes=1 << 20)
    tracemalloc.start()
    with CheckpointFile(path) as checkpoint:
        assert math.prod(checkpoint.tensors["big"].shape) == big.size
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
