"""Photos of the formats of phones and cameras: HEIC, AVIF, JPEG XL and raw files.

`tests/data/heic/` was written once with pillow-heif, which is not installed for its licence: 64 x 48 pixels, red on the left,
blue on the right. `turned` is to be turned by 90 degrees, and has Display P3, EXIF and, at its end, XMP; `deep` has 10 bits;
the lower half of `clear` is clear.
"""

from __future__ import annotations

import io
import struct
import tracemalloc

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from encoder.errors import UnreadableImage
from encoder.inputs.image_formats import HEAD_BYTES, format_of
from encoder.inputs.jpeg_xl import size_of
from encoder.inputs.pixels import decode, decode_sized
from tests.support.commands import ROOT
from tests.support.heic_grids import VERTICAL, grid_of
from tests.support.icc_profiles import DISPLAY_P3, in_srgb
from tests.support.raw_files import dng

RED, BLUE = (200, 30, 40), (30, 60, 200)
HEIC = {path.stem: path.read_bytes() for path in (ROOT / "tests" / "data" / "heic").glob("*.heic")}


def two_colours(width: int = 64, height: int = 48) -> Image.Image:
    """Red on the left, blue on the right."""
    photo = Image.new("RGB", (width, height), RED)
    photo.paste(BLUE, (width // 2, 0, width, height))
    return photo


def saved(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def as_jxl(values: np.ndarray, **options) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(values, lossless=True, effort=1, **options))


def assert_colours(image: Image.Image, first: tuple, last: tuple, off: int = 4) -> None:
    """The colours near the first and the last pixel."""
    for colour, place in ((first, (2, 2)), (last, (image.width - 3, image.height - 3))):
        assert np.abs(np.array(image.getpixel(place)) - np.array(colour)).max() <= off


def refusal(content: bytes) -> str:
    with pytest.raises(UnreadableImage) as error:
        decode(content)
    assert "\n" not in str(error.value)
    return error.value.reason


@pytest.mark.parametrize("name", ["plain", "deep"])
def test_heic_of_8_and_of_10_bits(name):
    assert_colours(decode(HEIC[name]), RED, BLUE)


def test_a_heic_is_turned_once_and_its_profile_is_applied():
    image, size = decode_sized(HEIC["turned"])
    assert image.size == size == (48, 64)
    assert_colours(image, tuple(in_srgb(RED, DISPLAY_P3)), tuple(in_srgb(BLUE, DISPLAY_P3)), off=8)


@pytest.mark.parametrize("columns, size", [(3, (192, 128)), (3, (170, 100)), (2, (120, 190)), (1, (64, 384)), (6, (330, 64))])
def test_a_heic_of_tiles_as_phones_write_them_has_every_tile_at_its_place(columns, size):
    image, stored = decode_sized(grid_of([HEIC["plain"]] * 6, columns, size))
    assert image.size == stored == size
    tile = np.asarray(decode(grid_of([HEIC["plain"]], 1, (64, 64))))
    whole = np.tile(tile, (6 // columns, columns, 1))[: size[1], : size[0]]
    assert np.array_equal(np.asarray(image), whole)
    assert_colours(decode(grid_of([HEIC["plain"]], 1, (64, 48))), RED, BLUE)


def test_tiles_of_one_photo_stand_in_the_order_of_its_grid():
    left, right = (grid_of([HEIC[name]], 1, (64, 64)) for name in ("plain", "clear"))
    both = np.asarray(decode(grid_of([HEIC["plain"], HEIC["clear"]], 2, (128, 64))))
    assert np.array_equal(both, np.concatenate([np.asarray(decode(one)) for one in (left, right)], axis=1))


def test_a_heic_of_tiles_is_turned_as_the_phone_was_held():
    lying = np.asarray(decode(grid_of([HEIC["plain"]] * 6, 3, (180, 100))))
    image, size = decode_sized(grid_of([HEIC["plain"]] * 6, 3, (180, 100), quarter_turns=VERTICAL))
    assert image.size == size == (100, 180) and np.array_equal(np.asarray(image), np.rot90(lying, VERTICAL))


@pytest.mark.parametrize("missing", [1, 60, 130, 300, 500])
def test_a_heic_of_which_tiles_are_cut_off_is_damaged(missing):
    assert refusal(grid_of([HEIC["plain"]] * 4, 2, (128, 128))[:-missing]) == "damaged"


def test_what_is_beside_the_tiles_of_a_heic_may_be_cut_off():
    content = grid_of([HEIC["plain"]] * 4, 2, (128, 128))
    assert decode(content + b"\0\0\xff\xffmdat").size == (128, 128)


def test_what_is_clear_in_a_heic_is_white():
    assert_colours(decode(HEIC["clear"]), RED, (255, 255, 255))


@pytest.mark.parametrize("change", [
    (b"application/rdf+xml\0", b"application/rdf+xm\0x"), (b"Exif\0\0MM", b"Exifxxxx"),
    (b"\0\0\0\x06Exif", b"\xff\xff\xff\xffExif"),
       (b"MM\0*\0\0\0\x08", b"MM\0*\xff\xff\xff\xff"),
    (b"<x:xmpmeta", b"\xff\xfe\0<<<<<<<"), (b"cdsc", b"free"),
])  # fmt: skip
def test_broken_metadata_does_not_refuse_a_heic(change):
    old, new = change
    assert old in HEIC["turned"] and len(old) == len(new)
    assert decode(HEIC["turned"].replace(old, new)).tobytes() == decode(HEIC["turned"]).tobytes()


def test_metadata_of_a_heic_that_lies_outside_the_file_does_not_refuse_it():
    content = bytearray(HEIC["turned"])
    at = content.index(b"iloc") + 4 + 8
    for number in (1, 2):
        struct.pack_into(">I", content, at + 18 * number + 4, 10**6)
    assert decode(bytes(content)).size == (48, 64)


@pytest.mark.parametrize("name", ["plain", "deep"])
def test_a_heic_that_is_cut_short_is_damaged(name):
    for length in (40, len(HEIC[name]) // 2, len(HEIC[name]) - 20):
        assert refusal(HEIC[name][:length]) == "damaged"


def test_a_heic_of_which_only_metadata_is_cut_is_whole():
    assert decode(HEIC["turned"][:-20]).size == (48, 64)


def test_a_heic_of_too_many_pixels_is_refused_before_it_is_decoded():
    size = b"ispe" + struct.pack(">III", 0, 64, 48)
    content = HEIC["deep"].replace(
        b"ispe" + HEIC["deep"].split(b"ispe")[1][:12], b"ispe" + struct.pack(">III", 0, 60_000, 60_000)
    )
    assert size[:4] in content and content != HEIC["deep"]
    assert refusal(content.replace(b"clap", b"free")) in ("too_large", "damaged")


WHOLE = [*HEIC.values(), dng(two_colours(500, 420)), as_jxl(np.asarray(two_colours())), saved(two_colours(), "AVIF")]


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=6),
    st.none() | st.integers(12, 1500),
)
def test_changed_bytes_are_read_or_refused(whole, changes, kept):
    data = bytearray(whole)
    for at, value in changes:
        data[at % len(data)] = value
    try:
        assert decode(bytes(data[:kept])).mode == "RGB"
    except UnreadableImage as error:
        assert error.reason and "\n" not in str(error)


def test_an_item_of_a_heic_whose_type_is_no_text_does_not_end_the_process():
    content = bytearray(HEIC["turned"])
    at = content.index(b"mime")
    content[at : at + 4] = b"\xff\xfe\x80\x81"
    assert decode(bytes(content)).size == (48, 64)


def test_avif_with_broken_metadata():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(saved(two_colours(), "AVIF", exif=exif)).size == (48, 64)
    content = saved(two_colours(), "AVIF", exif=exif.tobytes(), xmp=b"<x/>")
    assert_colours(decode(content.replace(b"Exif\0\0II", b"\xff" * 8)), RED, BLUE, off=255)


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (8, 16), (48, 64), (300, 7), (513, 2000), (1080, 1920), (9, 3000)])
def test_the_size_of_a_jpeg_xl_is_read_from_its_header(shape, container):
    content = as_jxl(np.zeros((*shape, 3), np.uint8), usecontainer=container)
    assert size_of(content) == shape[::-1]
    assert decode_sized(content)[1] == shape[::-1]


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_jpeg_xl_of_every_number(dtype):
    white = 1.0 if dtype == "f4" else np.iinfo(dtype).max
    values = (np.asarray(two_colours()) / 255 * white).round(4 if dtype == "f4" else 0).astype(dtype)
    assert_colours(decode(as_jxl(values)), RED, BLUE, off=1)
    assert_colours(decode(as_jxl(values[..., 0].copy())), (200,) * 3, (30,) * 3, off=1)
    clear = np.concatenate([values, np.zeros_like(values[..., :1])], -1)
    assert_colours(decode(as_jxl(clear)), (255,) * 3, (255,) * 3, off=1)


def test_of_a_moving_jpeg_xl_the_first_picture_is_read():
    frames = np.stack([np.full((16, 16, 3), value, np.uint8) for value in (90, 200, 30)])
    assert decode(as_jxl(frames)).getpixel((3, 3)) == (90, 90, 90)


def test_a_jpeg_xl_that_is_cut_short_is_damaged():
    content = as_jxl(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    for length in (3, 200, len(content) - 500):
        assert refusal(content[:length]) == "damaged"


def test_a_jpeg_xl_of_too_many_pixels_is_refused_before_it_is_decoded():
    bits = 0 | 3 << 1 | (60_000 - 1) << 3 | 1 << 33  # not small, 30 bits of height, as wide as high
    tracemalloc.start()
    assert refusal(b"\xff\x0a" + bits.to_bytes(12, "little")) == "too_large"
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("orientation, first, last", [(1, RED, BLUE), (3, BLUE, RED), (6, RED, BLUE), (8, BLUE, RED)])
def test_of_a_raw_photo_the_preview_is_read_upright(orientation, first, last):
    content = dng(two_colours(600, 450), orientation=orientation)
    assert format_of(content[:HEAD_BYTES]).name == "DNG"  # pyright: ignore[reportOptionalMemberAccess]
    image, size = decode_sized(content)
    assert image.size == size == ((600, 450) if orientation < 5 else (450, 600))
    assert_colours(image, first, last)
    assert decode_sized(content, 100)[1] == size and max(decode(content, 100).size) < 600


@pytest.mark.parametrize("preview", [None, two_colours(160, 120)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_raw_photo_without_a_preview_is_made_from_the_sensor_s_pixels(preview, orientation):
    image, size = decode_sized(dng(preview, orientation=orientation))
    assert (image.size, size) == (((320, 240), (640, 480)) if orientation == 1 else ((240, 320), (480, 640)))
    assert np.ptp(image.getpixel((100, 100))) < 12, "it is grey"


def test_a_raw_photo_with_a_small_sensor_keeps_its_preview():
    assert decode(dng(two_colours(160, 120), width=320, height=240)).size == (160, 120)


def test_a_scan_that_looks_like_a_camera_s_file_is_read_as_a_tiff():
    photo = two_colours()
    content = saved(photo, "TIFF", tiffinfo={254: 1, 330: 8, 271: "ACME scanner"})
    assert format_of(content[:HEAD_BYTES]).name == "DNG"  # pyright: ignore[reportOptionalMemberAccess]
    assert decode(content).tobytes() == photo.tobytes()


def test_a_name_says_nothing(tmp_path):
    for name, content in {
        "a.jpg": HEIC["plain"],
        "b.heic": saved(two_colours(), "PNG"),
        "c.cr2": dng(two_colours(600, 450)),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert_colours(decode(tmp_path / name), RED, BLUE)
