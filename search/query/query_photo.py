"""From the file of a photo to the array that a query takes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from encoder.errors import UnreadableImage
from encoder.inputs.image_inputs import Files, LoadedImage, features_in, files_of, load_image
from encoder.inputs.pixels import decode
from encoder.inputs.regions import ENDING
from search.errors import UnreadablePhoto
from storage.photo_uri import PhotoUri

if TYPE_CHECKING:
    from encoder.api import ImageConfig
    from storage import ImageRecord

PREVIEW_SIDE = 480


def read_photo(photo: bytes | Path, config: ImageConfig) -> np.ndarray:
    """Read a photo for `Query(image=...)`.

    Args:
        photo: the bytes of a file, or its path. For a model that reads a detector's features this is an `.npz`. For one that
            reads both, the `.npz` of the same name beside the photo is read too.
        config: says what the model reads of a photo (`inputs`).

    Raises:
        UnreadablePhoto: the photo can't be read.
    """
    if isinstance(photo, bytes):
        return _from_photo(_decode(photo), config)
    if photo.suffix.lower() == ENDING or config.inputs.region_width:
        return _from_files(files_of(str(photo), _beside(photo), config.inputs), config)
    return _from_photo(_decode(photo), config)


def photo_bytes(path: Path) -> bytes:
    """Read the bytes of a photo's file, for a server to decode.

    Raises:
        UnreadablePhoto: the file can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadablePhoto(f"{path} can't be read ({error.strerror}): check the path.") from error


def read_stored(record: ImageRecord, config: ImageConfig) -> np.ndarray:
    """Read an image of the collection for `Query(image=...)`, from its files as they are now.

    Raises:
        UnreadablePhoto: its files can't be read.
    """
    uri = PhotoUri.at(record.uri)
    files = files_of(str(uri.path), features_in(record.metadata), config.inputs)
    if files.features is not None:
        return _from_files(files, config)
    if uri.member is None:
        return read_photo(uri.path, config)
    try:
        with uri.open() as file:
            return read_photo(file.read(), config)
    except OSError as error:
        raise UnreadablePhoto(
            f"{record.uri} can't be read ({error.strerror}): put it back, or index its source again."
        ) from error


def read_photo_with_preview(photo: bytes | Path, config: ImageConfig) -> tuple[np.ndarray, bytes]:
    """Read a photo as `read_photo` does, and also as a small JPEG at its true aspect ratio."""
    image = _decode(photo)
    prepared = _from_photo(image, config)
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    jpeg = BytesIO()
    image.save(jpeg, "JPEG", quality=85)
    return prepared, jpeg.getvalue()


def _from_photo(image: Image.Image, config: ImageConfig) -> np.ndarray:
    if config.inputs.region_width:
        raise UnreadablePhoto(
            f"{config.name} reads a detector's features, and a photo alone has none: search with a sentence, "
            "with a photo of the collection, or on the command line with an .npz."
        )
    return config.inputs.make(LoadedImage(image, None))


def _from_files(files: Files, config: ImageConfig) -> np.ndarray:
    try:
        return config.inputs.make(load_image(files, config.inputs))
    except UnreadableImage as error:
        raise UnreadablePhoto(str(error)) from error


def _beside(photo: Path) -> str | None:
    """The path of the features that lie beside a photo."""
    paths = (photo.with_suffix(ENDING), photo.with_name(photo.name + ENDING))
    return next((str(path) for path in paths if path.is_file()), None)


def _decode(photo: bytes | Path) -> Image.Image:
    try:
        return decode(photo)
    except UnreadableImage as error:
        raise UnreadablePhoto(str(error)) from error
    except Exception as error:  # a decoder may fail in any way on what a stranger sends
        raise UnreadablePhoto(f"The photo can't be decoded ({type(error).__name__}): try another file.") from error
