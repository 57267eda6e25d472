"""Photos of strangers: those that are refused before they are decoded, and decoders that fail."""

from __future__ import annotations

import errno
import io
import os
import signal
import struct
import time
import zlib
from multiprocessing.process import BaseProcess
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from encoder.inputs.image_formats import FORMATS, PILLOW
from search import UnreadablePhoto
from search.query.query_photo import read_photo_with_preview
from tests.support.commands import ROOT
from tests.support.fakes import FakeConfig, jpeg, photo
from web.errors import Busy
from web.photo_decoder import CHUNK_BYTES, PhotoDecoder, check_upload

CONFIG = FakeConfig()


@pytest.fixture(scope="module")
def decoder():
    decoder = PhotoDecoder()
    yield decoder
    decoder.close()


def worker_of(decoder: PhotoDecoder) -> BaseProcess:
    """The process that decodes."""
    assert decoder._worker is not None
    return decoder._worker.process


def pid_of(process: BaseProcess) -> int:
    assert process.pid is not None
    return process.pid


def saved(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    photo("red").save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int) -> bytes:
    """A PNG whose header says it has so many pixels, with a few bytes of them."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", [one.name for one in FORMATS if one.reader == PILLOW])
def test_the_decoder_gives_the_same_as_decoding_in_this_process(decoder, kind):
    content = saved(kind)

    prepared, preview = decoder.read(io.BytesIO(content), CONFIG)

    expected, _ = read_photo_with_preview(content, CONFIG)
    assert np.array_equal(prepared, expected) and Image.open(io.BytesIO(preview)).format == "JPEG"


class ReadInParts(io.BytesIO):
    """A file that notes how much is read of it at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(size)
        self.most = max(self.most, len(part))
        return part


def test_a_large_file_is_handed_on_in_parts(decoder):
    file = ReadInParts(jpeg("red").ljust(5 * CHUNK_BYTES + 1, b"\0"))
    assert np.array_equal(decoder.read(file, CONFIG)[0], decoder.read(io.BytesIO(jpeg("red")), CONFIG)[0])
    assert file.most == CHUNK_BYTES


@pytest.mark.parametrize("name", ["plain", "turned"])
def test_a_heic_is_decoded_in_the_process_too(decoder, name):
    content = (ROOT / "tests" / "data" / "heic" / f"{name}.heic").read_bytes()

    assert np.array_equal(decoder.read(io.BytesIO(content), CONFIG)[0], read_photo_with_preview(content, CONFIG)[0])


@pytest.mark.parametrize("kind", ["PPM", "ICO", "PCX", "TGA", "PDF", "EPS", "ICNS"])
def test_other_formats_are_refused_even_if_they_could_be_read(decoder, kind):
    try:
        content = saved(kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {kind}")
    with pytest.raises(UnreadablePhoto, match="is not an image that can be read"):
        decoder.read(io.BytesIO(content), CONFIG)


@pytest.mark.parametrize("size", [(8001, 8001), (2**31 - 1, 1), (65_535, 65_535)])
def test_too_many_pixels_are_refused_before_they_are_decoded(decoder, size):
    width, height = size
    if width * height <= 64_000_000:
        pytest.skip("few enough")
    with pytest.raises(UnreadablePhoto, match="has more than the 64 million pixels"):
        check_upload(png(width, height))
    with pytest.raises(UnreadablePhoto):
        decoder.read(io.BytesIO(png(width, height)), CONFIG)


def test_too_many_pixels_of_a_jpeg_xl_and_a_heic_are_refused_before_they_are_decoded():
    bits = 3 << 1 | (8_001 - 1) << 3 | 1 << 33  # 30 bits of height, as wide as high
    heic = bytearray((ROOT / "tests" / "data" / "heic" / "deep.heic").read_bytes().replace(b"clap", b"free"))
    struct.pack_into(">II", heic, heic.index(b"ispe") + 8, 8001, 8001)
    for content in (b"\xff\x0a" + bits.to_bytes(12, "little"), bytes(heic)):
        with pytest.raises(UnreadablePhoto, match="has more than the 64 million pixels"):
            check_upload(content)


def test_a_signature_of_one_kind_and_the_rest_of_another_is_damaged(decoder):
    with pytest.raises(UnreadablePhoto, match="the uploaded photo"):
        decoder.read(io.BytesIO(b"BM" + jpeg("red")[2:]), CONFIG)


def test_a_photo_that_takes_too_long_is_given_up_and_the_next_one_is_read():
    decoder = PhotoDecoder(timeout_s=60)
    try:
        decoder.read(io.BytesIO(jpeg("red")), CONFIG)
        decoder._timeout_s = 0.2
        os.kill(pid_of(worker_of(decoder)), signal.SIGSTOP)  # a decoder that is stuck
        with pytest.raises(UnreadablePhoto, match=r"longer than 0\.2 s"):
            decoder.read(io.BytesIO(jpeg("red")), CONFIG)
        decoder._timeout_s = 60
        assert decoder.read(io.BytesIO(jpeg("blue")), CONFIG)[0].shape == (32, 32, 3)
    finally:
        decoder.close()


def test_a_worker_that_died_is_replaced():
    decoder = PhotoDecoder()
    try:
        decoder.read(io.BytesIO(jpeg("red")), CONFIG)
        first = worker_of(decoder)
        os.kill(pid_of(first), signal.SIGKILL)
        first.join()
        assert decoder.read(io.BytesIO(jpeg("blue")), CONFIG)[0].shape == (32, 32, 3)
        assert worker_of(decoder).pid != first.pid
    finally:
        decoder.close()


@pytest.mark.parametrize("at_once", [True, False], ids=["no process", "a process that ends at once"])
def test_a_worker_that_cannot_start_is_an_error_and_the_next_photo_tries_again(monkeypatch, at_once):
    decoder = PhotoDecoder()
    with monkeypatch.context() as patched:
        if at_once:
            refused = OSError(errno.EAGAIN, "Resource temporarily unavailable")
            patched.setattr("multiprocessing.popen_spawn_posix.Popen._launch", Mock(side_effect=refused))
        else:
            patched.setattr("web.photo_decoder._work", os.abort)
        for _ in range(2):
            with pytest.raises(Busy, match="No process could be started"):
                decoder.read(io.BytesIO(jpeg("red")), CONFIG)
    try:
        assert decoder.read(io.BytesIO(jpeg("blue")), CONFIG)[0].shape == (32, 32, 3)
    finally:
        decoder.close()


def test_a_photo_that_takes_too_much_memory_is_an_error():
    decoder = PhotoDecoder(memory_bytes=60_000_000)
    buffer = io.BytesIO()
    Image.new("RGBA", (7000, 7000)).save(buffer, "PNG", compress_level=1)
    try:
        with pytest.raises(UnreadablePhoto, match="(?i)memory"):
            decoder.read(io.BytesIO(buffer.getvalue()), CONFIG)
        assert decoder.read(io.BytesIO(jpeg("blue")), CONFIG)[0].shape == (32, 32, 3)
    finally:
        decoder.close()


def test_the_worker_ends_with_its_parent():
    decoder = PhotoDecoder()
    decoder.read(io.BytesIO(jpeg("red")), CONFIG)
    process = worker_of(decoder)
    assert decoder._worker is not None
    decoder._worker.connection.close()  # as the end of this process would

    deadline = time.monotonic() + 30
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not process.is_alive()
