"""A TIFF is shown as it is meant, or refused with a reason: never black, never inverted."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from encoder.errors import UnreadableImage
from encoder.inputs.pixels import decode, decode_sized

RAMP = np.tile(np.linspace(0, 1, 96), (40, 1))
COLOURED = np.stack([RAMP, RAMP[:, ::-1], RAMP / 2], -1)
BLACK_IS_ZERO, WHITE_IS_ZERO = "minisblack", "miniswhite"
COMPRESSIONS = [None, "lzw", "zlib", "zstd", "packbits"]


def as_tiff(values: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, metadata=None, **options)
    return stream.getvalue()


def packed_tiff(rows: bytes, photometric: int, bits: int) -> bytes:
    """A grey TIFF of RAMP's size whose samples don't fill whole bytes."""
    height, width = RAMP.shape
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 0), (277, 1), (278, height)]
    tags.append((279, len(rows)))
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in tags)
    return struct.pack(">2sHIH", b"MM", 42, 8, len(tags)) + entries + bytes(4) + rows


def whole(values: np.ndarray, dtype: str) -> np.ndarray:
    """Values from 0 to 1 as whole numbers of all of a dtype's range, or as floats."""
    kind = np.dtype(dtype)
    return values.astype(kind) if kind.kind == "f" else np.round(values * np.iinfo(kind).max).astype(kind)


def assert_shows(content: bytes, values: np.ndarray, off: float = 1.01) -> None:
    expected = 255 * (values if values.ndim == 3 else np.repeat(values[..., None], 3, -1))
    shown = np.asarray(decode(content), dtype=float)
    assert shown.shape == expected.shape and np.abs(shown - expected).max() <= off


def refusal(content: bytes) -> UnreadableImage:
    with pytest.raises(UnreadableImage) as error:
        decode(content, name="x.tif")
    assert "\n" not in str(error.value)
    return error.value


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, WHITE_IS_ZERO])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f2", "f4", "f8"])
def test_grey_of_every_number(dtype, photometric, byteorder):
    values = whole(1 - RAMP if photometric == WHITE_IS_ZERO else RAMP, dtype)
    assert_shows(as_tiff(values, photometric=photometric, byteorder=byteorder), RAMP)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4"])
def test_colours_of_every_number_and_order(dtype, planar, compression):
    values = whole(COLOURED, dtype)
    values = np.moveaxis(values, -1, 0) if planar == "separate" else values
    content = as_tiff(values, photometric="rgb", planarconfig=planar, compression=compression, rowsperstrip=16)
    assert_shows(content, COLOURED)


@pytest.mark.parametrize("options", [{"tile": (16, 16)}, {"predictor": True, "compression": "zlib"}, {"bigtiff": True}])
@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_tiles_predictors_and_bigtiff(dtype, options):
    assert_shows(as_tiff(whole(COLOURED, dtype), photometric="rgb", **options), COLOURED)


@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, WHITE_IS_ZERO])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_samples_of_other_bits_are_scaled_by_their_own_white(bits, photometric):
    values = np.round((1 - RAMP if photometric == WHITE_IS_ZERO else RAMP) * (2**bits - 1)).astype(">u2")
    each = np.unpackbits(values.view(np.uint8).reshape(*RAMP.shape, 2), axis=-1)[..., -bits:]
    rows = np.packbits(each.reshape(len(RAMP), -1), axis=1)
    assert_shows(packed_tiff(rows.tobytes(), photometric == BLACK_IS_ZERO, bits), RAMP)


@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, WHITE_IS_ZERO])
@pytest.mark.parametrize("compression", [None, "packbits", "zlib"])
def test_one_bit(photometric, compression):
    white = RAMP > 0.5
    values = ~white if photometric == WHITE_IS_ZERO else white
    assert_shows(as_tiff(values, photometric=photometric, compression=compression), white.astype(float))


def test_a_fax_is_black_on_white():
    page = Image.new("1", (64, 40), 1)
    page.paste(0, (0, 0, 32, 40))
    stream = io.BytesIO()
    page.save(stream, "TIFF", compression="group4")
    assert_shows(stream.getvalue(), np.asarray(page, dtype=float))


def test_a_dark_photo_of_16_bits_stays_dark():
    assert np.asarray(decode(as_tiff(whole(RAMP / 50, "u2"), photometric=BLACK_IS_ZERO))).max() == 5
    assert np.asarray(decode(as_tiff(np.zeros((8, 8), np.uint16), photometric=BLACK_IS_ZERO))).max() == 0


@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, WHITE_IS_ZERO])
@pytest.mark.parametrize("dtype, highest", [("u2", 60), ("u4", 255), ("u4", 65535), ("f4", 1e-4)])
def test_numbers_that_would_all_be_black_or_white_are_refused(dtype, highest, photometric):
    assert refusal(as_tiff((RAMP * highest).astype(dtype), photometric=photometric)).reason == "unsupported"


def test_a_png_of_16_bits_that_would_be_black_is_refused_too():
    stream = io.BytesIO()
    Image.fromarray((RAMP * 20).astype(np.uint16)).save(stream, "PNG")
    assert refusal(stream.getvalue()).reason == "unsupported"


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2), (2, 1)])
def test_colours_at_less_than_the_picture_s_size_are_refused_where_they_would_be_garbage(subsampling):
    grey = np.stack([whole(RAMP, "u1"), np.full(RAMP.shape, 128), np.full(RAMP.shape, 128)], -1).astype(np.uint8)
    content = as_tiff(grey, photometric="ycbcr", subsampling=(1, 1), extratags=[])
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        at = file.pages.first.tags["YCbCrSubSampling"].valueoffset
    changed = content[:at] + struct.pack("<HH", *subsampling) + content[at + 4 :]
    if subsampling == (1, 1):
        assert_shows(changed, RAMP, off=2)
    else:
        assert refusal(changed).reason == "unsupported"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("highest", [1.5, -1.0, 255.0, 65535.0, 1e30])
def test_floats_whose_white_nobody_knows_are_refused(highest, channels):
    values = (COLOURED[..., :channels].squeeze() * highest).astype(np.float32)
    error = refusal(as_tiff(values, photometric="rgb" if channels == 3 else BLACK_IS_ZERO))
    assert error.reason == "unsupported" and "which of them is white" in str(error)


def test_floats_a_little_outside_and_not_a_number_are_those_of_a_photo():
    values = RAMP.astype(np.float32) * 1.03 - 0.015
    values[3, 4], values[0, 0], values[0, 95] = np.nan, -0.2, 1.9
    shown = np.clip(values, 0, 1)
    shown[3, 4] = 0
    assert_shows(as_tiff(values, photometric=BLACK_IS_ZERO), shown)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "c8"])
def test_numbers_with_a_sign_are_refused(dtype):
    assert refusal(as_tiff((RAMP * 100).astype(dtype), photometric=BLACK_IS_ZERO)).reason == "unsupported"


@pytest.mark.parametrize("photometric", [4, 10, 34892, 32845])
def test_colours_that_are_not_known_are_refused(photometric):
    assert refusal(as_tiff(whole(COLOURED, "u2"), photometric=photometric)).reason in ("unsupported", "damaged")


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_transparency_is_laid_over_white(dtype, planar):
    values = whole(np.concatenate([COLOURED, RAMP[..., None]], -1), dtype)
    values = np.moveaxis(values, -1, 0) if planar == "separate" else values
    content = as_tiff(values, photometric="rgb", planarconfig=planar, extrasamples=["unassalpha"])
    assert_shows(content, COLOURED * RAMP[..., None] + 1 - RAMP[..., None], off=2)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_colours_that_were_multiplied_with_their_alpha(dtype):
    alpha = np.full_like(RAMP, 0.5)[..., None]
    values = whole(np.concatenate([COLOURED * alpha, alpha], -1), dtype)
    assert_shows(as_tiff(values, photometric="rgb", extrasamples=["assocalpha"]), COLOURED * 0.5 + 0.5, off=3)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_inks(dtype, planar):
    inks = np.stack([1 - RAMP, 1 - RAMP, 1 - RAMP, RAMP * 0], -1)
    values = whole(np.moveaxis(inks, -1, 0) if planar == "separate" else inks, dtype)
    assert_shows(as_tiff(values, photometric="separated", planarconfig=planar), RAMP)


@pytest.mark.parametrize("photometric", ["cielab", "icclab"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_lab(dtype, photometric):
    shift = 8 if dtype == "u2" else 0
    zero = 0 if photometric == "cielab" else 128 << shift
    lab = np.stack([np.full((8, 8), 138 << shift), np.full((8, 8), zero), np.full((8, 8), zero)], -1).astype(dtype)
    shown = np.asarray(decode(as_tiff(lab, photometric=photometric))).astype(int)
    assert np.ptp(shown) <= 4 and abs(shown.mean() - 129) < 4  # L* of 54 is a grey of 129


def test_a_palette_of_16_bits_and_of_8():
    colours = np.stack([np.arange(256) * 257, np.arange(256)[::-1] * 257, np.zeros(256)]).astype(np.uint16)
    indexes = np.round(RAMP * 255).astype(np.uint8)
    expected = np.stack([RAMP, 1 - RAMP, RAMP * 0], -1)
    assert_shows(as_tiff(indexes, photometric="palette", colormap=colours), expected)


def test_the_first_picture_is_shown_and_a_small_copy_of_it_is_not():
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        file.write(np.zeros((4, 4), np.uint8), subfiletype=1)
        file.write(whole(RAMP, "u1"))
        file.write(np.zeros((8, 8), np.uint8))
    assert_shows(stream.getvalue(), RAMP)


def test_the_first_picture_is_shown_of_floats_too():
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        file.write(np.zeros((4, 4), np.uint8), subfiletype=1)
        file.write(COLOURED.astype(np.float32), photometric="rgb")
    assert_shows(stream.getvalue(), COLOURED)


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_a_tiff_is_shown_upright_and_its_profile_applied(dtype):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = as_tiff(whole(COLOURED, dtype), photometric="rgb", iccprofile=profile, extratags=[(274, 3, 1, 6, True)])
    image, size = decode_sized(content)
    assert image.size == size == (40, 96)
    assert np.abs(np.asarray(image, dtype=float) - 255 * np.rot90(COLOURED, -1)).max() <= 1.01


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_a_tiff_that_is_cut_short_is_damaged(dtype, compression):
    noise = np.random.default_rng(0).random((64, 64, 3))
    content = as_tiff(whole(noise, dtype), photometric="rgb", compression=compression, rowsperstrip=8)
    assert refusal(content[: len(content) * 2 // 3]).reason == "damaged"


def test_a_strip_that_is_missing_is_damage():
    content = bytearray(as_tiff(whole(RAMP, "f4"), photometric=BLACK_IS_ZERO, compression="zlib", rowsperstrip=8))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        at = file.pages.first.tags["StripByteCounts"].valueoffset
    content[at : at + 2] = bytes(2)
    assert refusal(bytes(content)).reason == "damaged"


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_rows_that_no_strip_holds_are_damage(dtype):
    content = bytearray(as_tiff(whole(RAMP, dtype), photometric=BLACK_IS_ZERO))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        at = file.pages.first.tags["ImageLength"].valueoffset
    content[at : at + 4] = (400).to_bytes(4, "little")
    assert refusal(bytes(content)).reason == "damaged"


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
def test_tiles_far_larger_than_the_picture_take_no_memory(dtype, compression):
    content = bytearray(as_tiff(whole(RAMP, dtype), photometric=BLACK_IS_ZERO, compression=compression, tile=(16, 16)))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        places = [file.pages.first.tags[name].valueoffset for name in ("TileWidth", "TileLength")]
    for at in places:
        content[at : at + 2] = (16_000).to_bytes(2, "little")
    assert "tiles are 16000 x 16000" in str(refusal(bytes(content)))


def test_a_bomb_is_refused_before_it_is_decoded():
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        file.write(np.zeros((16, 16), np.float32), compression="zlib")
    content = stream.getvalue()
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        places = [file.pages.first.tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
    changed = bytearray(content)
    for at in places:
        changed[at : at + 2] = (60_000).to_bytes(2, "little")
    assert refusal(bytes(changed)).reason == "too_large"
