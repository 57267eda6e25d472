"""From the bytes of a photo to what a query takes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from encoder.errors import UnreadableImage
from encoder.inputs.image_inputs import Files, LoadedImage, features_in, files_of, load_image
from encoder.inputs.pixels import decode
from encoder.inputs.regions import ENDING
from search.errors import UnreadablePhoto
from storage.photo_uri import PhotoUri

PREVIEW_SIDE = 480


def read_photo(photo: bytes | Path, config) -> np.ndarray:
    """A photo ready for `Query(image=...)`; raises UnreadablePhoto.

    Args:
        photo: the bytes of a file, or its path. Where the model reads a detector's features that is an `.npz`; where it reads
            both, that of the photo's name beside it is read too.
        config: `encoder.config`, which says what the model reads of a photo (`inputs`).
    """
    if isinstance(photo, bytes):
        return _from_photo(_decode(photo), config)
    if photo.suffix.lower() == ENDING or config.inputs.region_width:
        return _from_files(files_of(str(photo), _beside(photo), config.inputs), config)
    return _from_photo(_decode(photo), config)


def photo_bytes(path: Path) -> bytes:
    """A photo's file as it is, for a server to decode; raises UnreadablePhoto."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadablePhoto(f"{path} can't be read ({error.strerror}): check the path.") from error


def read_stored(record, config) -> np.ndarray:
    """The same of an image of the collection, from its files as they are now; raises UnreadablePhoto."""
    place = PhotoUri.at(record.uri)
    files = files_of(str(place.path), features_in(record.metadata), config.inputs)
    if files.features is not None:
        return _from_files(files, config)
    if place.member is None:
        return read_photo(place.path, config)
    try:
        with place.open() as file:
            return read_photo(file.read(), config)
    except OSError as error:
        raise UnreadablePhoto(
            f"{record.uri} can't be read ({error.strerror}): put it back, or index its source again."
        ) from error


def read_photo_with_preview(photo: bytes | Path, config) -> tuple[np.ndarray, bytes]:
    """`read_photo`, and the photo once more as a small JPEG at its true aspect ratio."""
    image = _decode(photo)
    prepared = _from_photo(image, config)
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    jpeg = BytesIO()
    image.save(jpeg, "JPEG", quality=85)
    return prepared, jpeg.getvalue()


def _from_photo(image, config) -> np.ndarray:
    if config.inputs.region_width:
        raise UnreadablePhoto(
            f"{config.name} reads a detector's features, and a photo alone has none: search with a sentence, "
            "with a photo of the collection, or on the command line with an .npz."
        )
    return config.inputs.make(LoadedImage(image, None))


def _from_files(files: Files, config) -> np.ndarray:
    try:
        return config.inputs.make(load_image(files, config.inputs))
    except UnreadableImage as error:
        raise UnreadablePhoto(str(error)) from error


def _beside(photo: Path) -> str | None:
    """The features of a photo that lie beside it."""
    places = (photo.with_suffix(ENDING), photo.with_name(photo.name + ENDING))
    return next((str(path) for path in places if path.is_file()), None)


def _decode(photo: bytes | Path):
    try:
        return decode(photo)
    except UnreadableImage as error:
        raise UnreadablePhoto(str(error)) from error
    except Exception as error:  # a decoder may fail in any way on what a stranger sends
        raise UnreadablePhoto(f"The photo can't be decoded ({type(error).__name__}): try another file.") from error
