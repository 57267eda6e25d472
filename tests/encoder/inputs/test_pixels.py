"""Photos are decoded to upright RGB, or refused in one line; then they are made into a square."""

from __future__ import annotations

import io
import warnings
from concurrent.futures import ThreadPoolExecutor

import mindspore.dataset.vision as vision
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from encoder.errors import UnreadableImage
from encoder.inputs import limits, pixels
from encoder.inputs.pixels import decode, prepare


def saved(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_a_photo_taken_sideways_is_shown_upright():
    sideways = Image.new("RGB", (40, 20), "red")
    exif = sideways.getexif()
    exif[0x0112] = 6
    assert decode(saved(sideways, "JPEG", exif=exif)).size == (20, 40)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "1", "I;16", "F"])
def test_every_mode_becomes_rgb(mode):
    kind = "TIFF" if mode in ("CMYK", "I;16", "F") else "PNG"
    image = decode(saved(Image.new(mode, (8, 6)), kind))
    assert (image.mode, image.size) == ("RGB", (8, 6))


def test_sixteen_bits_keep_their_brightness():
    grey = Image.fromarray(np.full((4, 4), 32768, np.uint16))
    assert abs(int(np.asarray(decode(saved(grey, "PNG")))[0, 0, 0]) - 128) <= 1


def test_transparent_pixels_become_white():
    assert decode(saved(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG")).getpixel((0, 0)) == (255, 255, 255)


def test_a_large_jpeg_is_decoded_at_a_reduced_scale_on_request():
    photo = saved(Image.new("RGB", (1600, 1200), "blue"), "JPEG")
    assert decode(photo).size == (1600, 1200)
    assert 200 <= min(decode(photo, at_least=200).size) < 1200


def test_the_whole_photo_is_squashed_to_the_square():
    image = Image.new("RGB", (100, 50), "black")
    image.paste("white", (50, 0, 100, 50))
    square = prepare(image, 20)
    assert square.shape == (20, 20, 3) and square.dtype == np.uint8
    assert square[:, :8].max() < 30 and square[:, 12:].min() > 225


@pytest.mark.parametrize("width, height", [(640, 480), (480, 640), (333, 100), (1601, 1200), (70, 50), (225, 224), (500, 3)])
def test_the_published_crop_is_mindspore_s_own_resize_and_crop(width, height):
    image = np.random.default_rng(width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    theirs = np.asarray(vision.CenterCrop(224)(np.asarray(vision.Resize(224)(image)))).astype(int)
    assert np.abs(prepare(Image.fromarray(image), 224, "center_crop") - theirs).max() <= 1  # it counts in whole numbers


def test_the_published_crop_of_known_pixels():
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, :80] = 255  # 298 wide when scaled, 37 cut off at the left: the first 80 of 640 are gone, as is 40 in 640
    assert prepare(Image.fromarray(image), 224, "center_crop")[:, 1:].max() == 0
    exact = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    np.testing.assert_array_equal(prepare(Image.fromarray(exact), 32, "center_crop"), exact)
    pair = np.array([[[0, 0, 0], [100, 100, 100]]] * 2, np.uint8)  # 2 x 2 to 4 x 4: half-pixel centres
    assert prepare(Image.fromarray(pair), 4, "center_crop")[0, :, 0].tolist() == [0, 25, 75, 100]


def test_a_reduced_photo_gives_the_published_crop_other_pixels():
    photo = saved(Image.effect_noise((1600, 1200), 80).convert("RGB"), "JPEG")
    full = prepare(decode(photo), 100, "center_crop")
    reduced = prepare(decode(photo, at_least=100), 100, "center_crop")
    assert np.abs(full.astype(int) - reduced).mean() > 10  # which is why nobody may ask for it


@pytest.mark.parametrize("width, height", [(640, 480), (480, 640), (333, 100), (1601, 1200), (448, 448), (70, 50), (500, 9)])
def test_the_crop_of_v1_is_mindspore_s_own_to_the_last_bit(width, height):
    image = np.random.default_rng(width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    theirs = np.asarray(vision.CenterCrop(96)(np.asarray(vision.Resize(96)(image))))
    np.testing.assert_array_equal(prepare(Image.fromarray(image), 96, "resize_crop_cv"), theirs)


def test_a_panorama_is_not_resized_as_a_whole(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (2, 600, 3)).astype(np.uint8)
    whole = prepare(Image.fromarray(image), 48, "center_crop")
    np.testing.assert_array_equal(prepare(Image.fromarray(image), 48, "resize_crop_cv"), whole)
    monkeypatch.setattr(pixels, "LONGEST_RESIZED", 1000)
    assert np.abs(prepare(Image.fromarray(image), 48, "resize_crop_cv").astype(int) - whole).max() <= 1


def test_the_crop_of_v1_has_no_antialiasing():
    image = Image.effect_noise((1600, 1200), 80).convert("RGB")
    smooth, sharp = (prepare(image, 96, kind).astype(int) for kind in ("resize_crop", "resize_crop_cv"))
    assert np.abs(smooth - sharp).max() > 60


@pytest.mark.parametrize("width, height", [(640, 480), (480, 640), (333, 100), (1601, 1200), (448, 448), (70, 50), (500, 3)])
def test_the_crop_of_an_older_v1_is_the_middle_of_pillow_s_resize(width, height):
    image = Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3)).astype(np.uint8))
    scaled = image.resize((width * 64 // min(width, height), height * 64 // min(width, height)), Image.Resampling.BILINEAR)
    left, top = (scaled.width - 64) // 2, (scaled.height - 64) // 2
    theirs = np.asarray(scaled.crop((left, top, left + 64, top + 64))).astype(int)
    assert np.abs(prepare(image, 64, "resize_crop") - theirs).max() <= 1  # its weights are rounded


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (2, 3)])
@pytest.mark.parametrize("preprocessing", pixels.PREPROCESSINGS)
def test_photos_of_odd_sizes_become_a_square(size, preprocessing):
    assert prepare(Image.new("RGB", size, "red"), 16, preprocessing).shape == (16, 16, 3)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (b"<!doctype html><p>404</p>", "not_an_image"),
        (saved(Image.effect_noise((300, 300), 50), "JPEG")[:2000], "damaged"),
    ],
)
def test_an_unreadable_photo_has_a_reason_and_one_sentence(tmp_path, content, reason):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage) as error:
        decode(path)
    assert error.value.reason == reason
    assert "photo.jpg" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_photo_and_a_folder_have_different_reasons(tmp_path):
    with pytest.raises(UnreadableImage) as missing:
        decode(tmp_path / "nowhere.jpg")
    assert missing.value.reason == "missing"
    with pytest.raises(UnreadableImage) as folder:
        decode(tmp_path)
    assert folder.value.reason in ("unreadable", "empty")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(limits, "MAX_PIXELS", 99)
    with pytest.raises(UnreadableImage) as error:
        decode(saved(Image.new("L", (10, 10)), "PNG"))
    assert error.value.reason == "too_large"


def as_webp(width: int, height: int) -> bytes:
    """A WebP of so many black pixels in a few bytes."""
    head = saved(Image.new("RGB", (8, 8)), "WEBP", lossless=True)
    sides = (width - 1) | (height - 1) << 14
    return head[:21] + sides.to_bytes(4, "little") + head[25:]


@pytest.mark.parametrize("kind", ["PPM", "ICO", "EPS", "PCX", "TGA"])
def test_other_formats_are_refused_as_not_an_image(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.EpsImageFile.load", lambda *_: pytest.fail("EPS is a program, and was run"))
    try:
        content = saved(Image.new("RGB", (16, 16), "red"), kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {kind}")
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(UnreadableImage, match="JPEG XL and the raw files of cameras can") as error:
            decode(source)
        assert error.value.reason == "not_an_image"


@pytest.mark.filterwarnings("error")
def test_photos_above_pillow_s_limit_are_read_up_to_max_pixels():
    size = (16_320, 12_240)  # what the largest phone cameras make
    assert Image.MAX_IMAGE_PIXELS and Image.MAX_IMAGE_PIXELS * 2 < size[0] * size[1] <= pixels.MAX_PIXELS
    assert pixels.decode_sized(saved(Image.new("L", size), "JPEG"), 100)[1] == size
    with pixels.GUARD, Image.open(io.BytesIO(as_webp(*size))) as image:
        assert image.size == size
    with pytest.raises(UnreadableImage, match="more than the 200 million pixels") as error:
        decode(as_webp(16_383, 16_383))
    assert error.value.reason == "too_large"


def test_many_threads_leave_pillow_s_limit_as_it_was():
    before, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    photos = [saved(Image.effect_noise((300, 200), 50), "PNG"), b"no photo", as_webp(16_383, 16_383)] * 20

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda photo: read_or_refused(photo, None), photos))

    assert before and (Image.MAX_IMAGE_PIXELS, warnings.filters) == (before, filters)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(as_webp(16_383, 16_383)))


NOISE = Image.effect_noise((16, 16), 60)
WHOLE = [
    saved(NOISE.convert(mode), kind, **options)
    for kind, mode, options in [
        ("JPEG", "RGB", {}),
        ("JPEG", "CMYK", {"progressive": True}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {"transparency": 3}),
        ("PNG", "L", {"save_all": True, "append_images": [NOISE]}),
        ("GIF", "P", {"save_all": True, "append_images": [NOISE]}),
        ("BMP", "RGB", {}),
        ("TIFF", "RGB", {}),
        ("TIFF", "F", {"compression": "tiff_lzw"}),
        ("TIFF", "1", {"compression": "group4"}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGBA", {"save_all": True, "append_images": [NOISE]}),
        ("AVIF", "RGB", {}),
    ]
]


def read_or_refused(data: bytes, at_least: int | None) -> None:
    try:
        image = decode(data, at_least)
        assert image.mode == "RGB" and min(image.size) > 0
    except UnreadableImage as error:
        assert error.reason and "\n" not in str(error)


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=8),
    st.none() | st.integers(0, 1500),
    st.sampled_from([None, 4, 512]),
)
def test_changed_bytes_are_read_or_refused(whole, changes, kept, at_least):
    data = bytearray(whole)
    for at, value in changes:
        data[at % len(data)] = value
    read_or_refused(bytes(data[:kept]), at_least)


@given(st.binary(max_size=400))
def test_random_bytes_are_read_or_refused(data):
    read_or_refused(data, None)
