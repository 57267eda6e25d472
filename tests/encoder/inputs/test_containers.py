"""A photo is never refused for what is not its pixels, and never read without them."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from encoder.errors import UnreadableImage
from encoder.inputs.containers import Piece, Pieces, pixels_of
from encoder.inputs.pixels import decode, decode_sized

PHOTO = Image.radial_gradient("L").resize((96, 64)).convert("RGB")
NOISE = Image.effect_noise((200, 150), 60).convert("RGB")


def saved(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, content: bytes, crc: int | None = None) -> bytes:
    """A chunk of a PNG."""
    return (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content) if crc is None else crc)
    )


def png_with(*chunks: bytes, at_end: bool = False) -> bytes:
    """PHOTO as a PNG with more chunks: after its header, or before its end."""
    whole = saved(PHOTO, "PNG")
    place = whole.rindex(b"IEND") - 4 if at_end else 33
    return whole[:place] + b"".join(chunks) + whole[place:]


def bomb(gigabytes: int) -> bytes:
    """Zeros, compressed: a block of 16 MB over and over."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + 64 * gigabytes * block + packer.flush()


BOMB = bomb(4)
BESIDE = [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"gAMA", b"sRGB", b"pHYs", b"acTL", b"fcTL", b"hIST"]


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"Comment\0\0" + BOMB),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + BOMB),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + BOMB),
        chunk(b"iCCP", b"profile\0\0" + BOMB),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(2_000_000))),
        chunk(b"iCCP", b"no end"),
        chunk(b"iCCP", b""),
        chunk(b"tEXt", b"Comment\0hello", crc=1),
        chunk(b"tEXt", b"x" * 3_000_000),
        chunk(b"zTXt", b"Comment\0\x07rest"),
        chunk(b"iTXt", b"no separators at all"),
        chunk(b"eXIf", b"\xff\xff\xff"),
        chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01", crc=7),
        chunk(b"sRGB", b""),
        chunk(b"gAMA", b"\0"),
        chunk(b"cHRM", b"\1\2\3"),
        chunk(b"pHYs", b"\0"),
        chunk(b"acTL", b"\0\0\0"),
        chunk(b"fcTL", b"\0"),
        chunk(b"tIME", bytes(7), crc=0),
        chunk(b"teSt", b"anything"),
        chunk(b"iCCP", b"a\0\0" + zlib.compress(b"\0" * 200)) * 3,
    ],
)
@pytest.mark.parametrize("at_end", [False, True])
def test_a_png_is_read_whatever_stands_beside_its_pixels(extra, at_end):
    content = png_with(extra, at_end=at_end)
    tracemalloc.start()
    shown = decode(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert shown.tobytes() == PHOTO.tobytes()
    assert peak < len(content) + 12_000_000


def test_many_texts_are_read_past():
    content = png_with(*[chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(900_000)))] * 200)
    assert decode(content).tobytes() == PHOTO.tobytes()


@pytest.mark.parametrize("missing", [4, 8, 12, 16])
def test_a_png_without_its_end_is_whole(missing):
    assert decode(saved(PHOTO, "PNG")[:-missing]).tobytes() == PHOTO.tobytes()


def test_the_orientation_that_a_png_s_text_says_still_counts():
    exif = Image.Exif()
    exif[0x0112] = 6
    packed = exif.tobytes().hex()
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(packed) // 2:8d}\n{packed}\n", zip=True)
    assert decode(saved(PHOTO, "PNG", pnginfo=text)).size == (64, 96)
    assert decode(saved(PHOTO, "PNG", exif=exif)).size == (64, 96)


@pytest.mark.parametrize("depth, value", [("L", 9), ("RGB", (1, 2, 3)), ("1", 0)])
def test_a_colour_that_stands_for_clear_becomes_white(depth, value):
    image = Image.new(depth, (8, 8), value)
    assert decode(saved(image, "PNG", transparency=value)).getpixel((0, 0)) == (255, 255, 255)


SIX = b"\x01\x02\x03\x04\x05\x06"


@pytest.mark.parametrize(
    "kind, clear, pixels", [(0, b"\x30\x39", b"\x30\x39"), (2, b"\x01\x02\x03\x04\x05\x06", b"\x01\x02\x03\x04\x05\x06")]
)
def test_a_clear_colour_of_16_bits(kind, clear, pixels):
    head = struct.pack(">IIBBBBB", 2, 1, 16, kind, 0, 0, 0)
    rows = b"\0" + clear + b"\x80" * len(clear)
    parts = (chunk(b"IHDR", head), chunk(b"tRNS", clear), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    shown = decode(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert [shown.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (128, 128, 128)]


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


@pytest.mark.parametrize(
    "extra",
    [
        segment(0xE1, b"Exif\0\0broken"),
        segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation='z'"),
        segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\x01\xb0\x01\0\x03\0\0\0\x01\0\0\0\0"),
        segment(0xE2, b"MPF\0"),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"ICC_PROFILE\0\x02\x05part"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\x04name\0\0\0\x02\0\0"),
        segment(0xFE, b""),
        segment(0xFE, b"x" * 65_000) * 50,
        segment(0xEE, b"Ducky"),
        segment(0xE0, b"JFXX\0\x10"),
        segment(0xE5, b"\xff\xd8\xff\xd9"),
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_read_whatever_stands_beside_its_pixels(extra, progressive):
    whole = saved(PHOTO, "JPEG", progressive=progressive)
    assert decode(whole[:2] + extra + whole[2:]).tobytes() == decode(whole).tobytes()


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from([*range(0xE0, 0xF0), 0xFE]), st.binary(max_size=60)), max_size=4), st.data())
def test_no_segment_beside_the_pixels_refuses_a_jpeg(extras, data):
    starts = [b"", b"Exif\0\0", b"ICC_PROFILE\0", b"MPF\0", b"Photoshop 3.0\0", b"http://ns.adobe.com/xap/1.0/\0", b"JFIF\0"]
    added = b"".join(segment(marker, data.draw(st.sampled_from(starts)) + content) for marker, content in extras)
    whole = saved(PHOTO, "JPEG")
    assert decode(whole[:20] + added + whole[20:], at_least=16).mode == "RGB"


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(BESIDE), st.binary(max_size=40), st.none() | st.just(5)), max_size=4))
def test_no_chunk_beside_the_pixels_refuses_a_png(extras):
    assert decode(png_with(*(chunk(*extra) for extra in extras))).size == PHOTO.size


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "image", [PHOTO, NOISE, NOISE.convert("L"), NOISE.convert("CMYK"), Image.new("RGB", (96, 64), (128,) * 3)]
)
@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_that_lacks_its_end_mark_is_whole(lost, image, progressive):
    whole = saved(image, "JPEG", quality=95, progressive=progressive)
    for at_least in (None, 16):
        assert decode(whole[:-lost], at_least).tobytes() == decode(whole, at_least).tobytes()


@pytest.mark.parametrize("restart", [0, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [0.01, 0.05, 0.3, 0.6, 0.9])
def test_a_jpeg_that_is_cut_short_is_damaged(lost, progressive, restart):
    whole = saved(NOISE, "JPEG", quality=90, progressive=progressive, restart_marker_rows=restart)
    start = whole.index(b"\xff\xda")
    for at_least in (None, 16):
        for end in (b"", b"\xff"):
            with pytest.raises(UnreadableImage) as error:
                decode(whole[: start + int((len(whole) - start) * (1 - lost))] + end, at_least)
            assert error.value.reason == "damaged"


@pytest.mark.parametrize("lossless", [False, True])
def test_a_jpeg_of_a_kind_that_is_not_read_is_not_called_damaged(lossless):
    frame = 0xC3 if lossless else 0xC1
    whole = saved(PHOTO, "JPEG").replace(b"\xff\xc0\0\x11\x08", bytes((0xFF, frame, 0, 0x11, 8 if lossless else 12)))
    with pytest.raises(UnreadableImage, match="lossless" if lossless else "12 bits") as error:
        decode(whole)
    assert error.value.reason == "unsupported"


def test_a_progressive_jpeg_that_ends_between_two_scans_is_damaged():
    whole = saved(NOISE, "JPEG", quality=90, progressive=True)
    scans = [at for at in range(len(whole) - 1) if whole[at : at + 2] == b"\xff\xda"]
    tables = [whole.rindex(b"\xff\xc4", 0, scan) for scan in scans[1:]]
    for end in tables:
        with pytest.raises(UnreadableImage):
            decode(whole[:end])


def test_a_picture_beside_the_first_one_changes_nothing():
    both = saved(NOISE, "MPO", save_all=True, append_images=[PHOTO])
    assert Image.open(io.BytesIO(both)).format == "MPO"
    assert decode_sized(both, 30)[0].size < NOISE.size, "it is decoded at a reduced scale, as any JPEG"
    assert decode_sized(both, 30)[1] == NOISE.size


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0broken"])
@pytest.mark.parametrize("lost", [1, 3, 30])
def test_a_webp_whose_text_is_cut_short_is_whole(lost, exif):
    whole = saved(PHOTO, "WEBP", lossless=True, xmp=b"<x>" + b" " * 50, exif=exif)
    assert decode(whole[:-lost]).tobytes() == PHOTO.tobytes()


def test_a_webp_that_is_cut_short_is_damaged():
    whole = saved(NOISE, "WEBP", lossless=True, xmp=b"<x>" + b" " * 50)
    with pytest.raises(UnreadableImage) as error:
        decode(whole[: len(whole) // 2])
    assert error.value.reason == "damaged"


@pytest.mark.parametrize("kind", ["GIF", "BMP"])
def test_a_gif_without_its_trailer_is_whole_and_other_ends_are_damage(kind):
    whole = saved(NOISE.convert("P"), kind)
    assert kind == "BMP" or decode(whole[:-1]).size == NOISE.size
    with pytest.raises(UnreadableImage):
        decode(whole[: len(whole) // 2])


@given(st.binary(min_size=1, max_size=60), st.lists(st.integers(0, 60), min_size=2, max_size=6), st.data())
def test_pieces_are_read_as_one_file(content, cuts, data):
    cuts = sorted(min(cut, len(content)) for cut in cuts)
    spans = list(pairwise(cuts))[::2]
    expected = b"".join(content[start:end] for start, end in spans) + b"tail"
    pieces = [Piece(start, end - start) for start, end in spans] + [Piece(0, 4, b"tail")]
    file = io.BufferedReader(Pieces(io.BytesIO(content), pieces))
    assert file.read() == expected
    for at in data.draw(st.lists(st.integers(0, 70), max_size=5)):
        file.seek(at)
        assert file.read(7) == expected[at : at + 7]
    assert file.seek(0, io.SEEK_END) == len(expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_ordinary_file_is_read_as_it_is(kind):
    file = io.BytesIO(saved(PHOTO, kind))
    assert pixels_of(file, kind) is file and file.tell() == 0


def test_inks_without_adobe_s_mark_are_not_inverted():
    inks = Image.new("CMYK", (32, 32), (0, 0, 0, 0))
    adobe = saved(inks, "JPEG", quality=100)
    at = adobe.index(b"\xff\xee")
    plain = saved(Image.new("CMYK", (32, 32), (255, 255, 255, 255)), "JPEG", quality=100)
    plain = plain[:at] + plain[at + 16 :]
    assert b"Adobe" in adobe and b"Adobe" not in plain
    for content in (adobe, plain):
        assert np.asarray(decode(content)).min() > 250
