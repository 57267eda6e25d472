"""Colours are those that a photo's profile means; a profile that can't be used is ignored."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from encoder.inputs.colour import _transform
from encoder.inputs.pixels import decode
from tests.support.icc_profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    PROPHOTO,
    grey_profile,
    in_srgb,
    ink_profile,
    rgb_profile,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
COLOUR = (200, 90, 60)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind, options", [
    ("JPEG", {"quality": 100, "subsampling": 0}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}),
    ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
])  # fmt: skip
@pytest.mark.parametrize("space", [DISPLAY_P3, ADOBE_RGB, PROPHOTO], ids=["Display P3", "Adobe RGB", "ProPhoto"])
def test_a_colour_of_a_wide_space_is_brought_to_srgb(space, kind, options):
    photo = Image.new("RGB", (32, 32), COLOUR)
    shown = np.asarray(decode(saved(photo, kind, icc_profile=rgb_profile(space), **options)), dtype=float)
    expected = in_srgb(COLOUR, space)
    assert np.abs(expected - COLOUR).max() > 10, "or else this would show nothing"
    assert np.abs(shown - expected).max() <= 5


def test_a_grey_of_another_exponent():
    shown = decode(saved(Image.new("L", (8, 8), 128), "PNG", icc_profile=grey_profile(1.0)))
    assert shown.mode == "RGB" and abs(shown.getpixel((0, 0))[0] - 188) <= 2


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_are_those_of_the_press(kind):
    cyan = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    red, green, blue = decode(saved(cyan, kind, icc_profile=ink_profile())).getpixel((5, 5))
    assert green > 100 and red < 100 and blue < 60, "its cyan is a green"
    red, green, blue = decode(saved(cyan, kind)).getpixel((5, 5))
    assert blue > 200, "without a profile it is a cyan"


def test_what_is_srgb_is_not_converted():
    photo = Image.effect_noise((64, 64), 90).convert("RGB")
    assert _transform(SRGB, "RGB") is None
    assert decode(saved(photo, "PNG", icc_profile=SRGB)).tobytes() == photo.tobytes()


@pytest.mark.parametrize("profile", [
    b"", b"\xff broken" * 30, SRGB[:100], SRGB[:300], bytes(3000), grey_profile(1.0), ink_profile(),
    SRGB[:128] + b"\xff" * 2000,
], ids=["empty", "broken", "100 bytes", "300 bytes", "zeros", "of grey", "of inks", "no tags"])  # fmt: skip
def test_a_profile_that_cannot_be_used_is_ignored(profile):
    photo = Image.new("RGB", (16, 16), COLOUR)
    assert decode(saved(photo, "TIFF", icc_profile=profile or None)).getpixel((3, 3)) == COLOUR


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=6))
def test_no_profile_refuses_a_photo(changes):
    profile = bytearray(rgb_profile(DISPLAY_P3))
    for at, value in changes:
        profile[at % len(profile)] = value
    assert decode(saved(Image.new("RGB", (4, 4), COLOUR), "PNG", icc_profile=bytes(profile))).mode == "RGB"


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "1"])
def test_a_profile_leaves_transparency_and_palettes_as_they_are(mode):
    clear = Image.new("RGBA", (16, 16), (*COLOUR, 0))
    clear.paste((*COLOUR, 255), (0, 0, 8, 16))
    shown = decode(saved(clear.convert(mode), "PNG", icc_profile=rgb_profile(ADOBE_RGB)))
    assert mode in ("P", "1") or shown.getpixel((12, 3)) == (255, 255, 255)
    if mode in ("RGBA", "P"):
        assert np.abs(np.array(shown.getpixel((3, 3))) - in_srgb(COLOUR, ADOBE_RGB)).max() < (4 if mode == "RGBA" else 30)


def test_a_decoded_photo_has_no_profile_any_more():
    photo = Image.new("RGB", (16, 16), COLOUR)
    for profile in (SRGB, rgb_profile(ADOBE_RGB)):
        assert "icc_profile" not in decode(saved(photo, "PNG", icc_profile=profile)).info
