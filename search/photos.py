"""From the bytes of a photo to what a query takes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from encoder.errors import UnreadableImage
from encoder.pixels import decode, prepare
from storage.places import Place

from .errors import UnreadablePhoto

PREVIEW_SIDE = 480


def read_photo(photo: bytes | Path, config) -> np.ndarray:
    """A photo ready for `Query(image=...)`, uint8 [S, S, 3]; raises UnreadablePhoto.

    Args:
        photo: the bytes of a file, or its path.
        config: `encoder.config`, which says how the model's photos are prepared.
    """
    return prepare(_decode(photo), config.image_size, config.preprocessing)


def read_indexed(uri: str, config) -> np.ndarray:
    """The photo of a record, by its `uri`, as `read_photo` gives it; raises UnreadablePhoto."""
    place = Place.at(uri)
    if place.member is None:
        return read_photo(place.path, config)
    try:
        with place.open() as file:
            return read_photo(file.read(), config)
    except OSError as error:
        raise UnreadablePhoto(f"{uri} can't be read ({error.strerror}): put it back, or index its source again.") from error


def read_photo_with_preview(photo: bytes | Path, config) -> tuple[np.ndarray, bytes]:
    """`read_photo`, and the photo once more as a small JPEG at its true aspect ratio."""
    image = _decode(photo)
    prepared = prepare(image, config.image_size, config.preprocessing)
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    jpeg = BytesIO()
    image.save(jpeg, "JPEG", quality=85)
    return prepared, jpeg.getvalue()


def _decode(photo: bytes | Path):
    try:
        return decode(photo)
    except UnreadableImage as error:
        raise UnreadablePhoto(str(error)) from error
    except Exception as error:  # a decoder may fail in any way on what a stranger sends
        raise UnreadablePhoto(f"The photo can't be decoded ({type(error).__name__}): try another file.") from error
