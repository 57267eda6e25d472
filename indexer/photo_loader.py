"""Reads a photo: what the encoder and the collection need of it. Runs in worker processes, so it imports little."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from encoder.errors import UnreadableImage
from encoder.inputs.image_inputs import Files, ImageInput, LoadedImage, check, files_of, load_image
from encoder.inputs.pixels import decode_sized
from indexer.embedded_metadata import read_metadata
from indexer.items import Failure, one_line
from storage.photo_uri import Part, read_part

MISSING = "missing"
THUMBNAIL_SIDE = 512
THUMBNAIL_QUALITY = 85
OVERSAMPLING = 2
"""A JPEG is decoded to at least this many times the side that the network reads."""


@dataclass(frozen=True)
class Job:
    """A photo to read.

    Attributes:
        uri: the photo's uri; a detector's `.npz` if there is no photo.
        inputs: what the model reads of an image (`inputs` of its config).
        known_sha256: the content that needs no decoding; None decodes any.
        features: the `.npz` of the photo, if it has one.
        path: the file; None if it is `uri`.
        part: where the photo is in a file that holds several; None for the whole file.
    """

    uri: str
    inputs: ImageInput
    known_sha256: str | None = None
    features: str | None = None
    path: str | None = None
    part: Part | None = None


@dataclass(frozen=True)
class FileState:
    """A file as it was when it was read.

    Attributes:
        sha256: the hash of the content; of a photo with features, the hash of both hashes.
        bytes: the size; of a photo with features, the sum.
        mtime_ns: the modification time in ns; of a photo with features, the sum.
    """

    sha256: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Photo:
    """A photo that was read.

    Attributes:
        file: the state of its file.
        width: its width in pixels, upright.
        height: its height in pixels, upright.
        pixels: the array that `inputs` of the job made; of features, rows of regions.
        thumbnail: a JPEG file; of features without a photo, a sketch of the regions.
        embedded: what the photo's file says of itself (see `indexer.embedded_metadata`).
    """

    file: FileState
    width: int
    height: int
    pixels: np.ndarray
    thumbnail: bytes
    embedded: dict[str, Any]


def load_photo(job: Job) -> Photo | FileState | Failure:
    """Read a photo. Never raises.

    Returns:
        The photo; only its file's state if the content is `job.known_sha256`; or why it can't be used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on metadata would break the progress bar
            return _read(job)
    except UnreadableImage as error:
        return Failure(job.uri, error.reason, str(error))
    except FileNotFoundError:
        return Failure(job.uri, MISSING, f"{one_line(job.uri)} does not exist; check the path.")
    except OSError as error:
        return Failure(job.uri, "unreadable", f"{one_line(job.uri)} cannot be read ({error.strerror or error}).")
    except Exception as error:  # a decoder may fail in any way, and one photo must not end the run
        problem = one_line(f"{type(error).__name__}: {error}")
        return Failure(job.uri, "undecodable", f"{one_line(job.uri)} cannot be decoded ({problem}).")


def _read(job: Job) -> Photo | FileState | Failure:
    path, name = job.path or job.uri, one_line(job.uri)
    files = files_of(path, job.features, job.inputs)
    if files.features is not None or job.inputs.region_width:
        return _read_features(job, files)
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return Failure(job.uri, "not_a_file", f"{name} is not a file; check the path.")
    content = None if job.part is None else read_part(path, job.part)
    state = FileState(_sha256(path, content), status.st_size if content is None else len(content), status.st_mtime_ns)
    if state.sha256 == job.known_sha256:
        return state
    reduced = job.inputs.reduced_to
    at_least = max(THUMBNAIL_SIDE, OVERSAMPLING * reduced) if reduced else None
    image, (width, height) = decode_sized(path if content is None else content, at_least, name)
    pixels, embedded = job.inputs.make(LoadedImage(image, None)), read_metadata(path if content is None else content)
    return Photo(state, width, height, pixels, make_thumbnail(image), embedded)


def _sha256(path: str, content: bytes | None = None) -> str:
    if content is not None:
        return hashlib.sha256(content).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_both(photo: str, features: str) -> str:
    """What counts as the SHA-256 of a photo with a detector's features; both are given by their own, in hex digits."""
    return hashlib.sha256(f"{photo} {features}".encode()).hexdigest()


def _read_features(job: Job, files: Files) -> Photo | FileState | Failure:
    """Read a detector's features, and the photo beside them, if any."""
    check(files, job.inputs)
    for path in files.all:
        if not os.path.isfile(path):
            reason = "not_a_file" if os.path.exists(path) else MISSING
            return Failure(job.uri, reason, f"{one_line(path)} is not a file; check the path.")
    size, mtime_ns = size_and_mtime(files.all)
    hashes = [_sha256(path) for path in files.all]
    combined = hashes[0] if len(hashes) == 1 else sha256_of_both(*hashes)
    state = FileState(combined, size, mtime_ns)
    if state.sha256 == job.known_sha256:
        return state
    loaded = load_image(files, job.inputs)
    embedded = read_metadata(files.photo) if files.photo else {}
    return Photo(state, *loaded.size, job.inputs.make(loaded), make_thumbnail(loaded.picture()), embedded)


def size_and_mtime(paths: Sequence[str]) -> tuple[int, int]:
    """The sums of the files' sizes in bytes and of their modification times in ns; they change if either file does.

    Raises:
        OSError: a file can't be looked at.
    """
    found = [os.stat(path) for path in paths]
    return sum(one.st_size for one in found), sum(one.st_mtime_ns for one in found)


def make_thumbnail(image: Image.Image) -> bytes:
    """The RGB image as a JPEG file of at most 512 pixels on the longer side. Small images keep their size."""
    small = image.copy() if max(image.size) <= THUMBNAIL_SIDE else _shrunk(image)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()


def _shrunk(image: Image.Image) -> Image.Image:
    scale = THUMBNAIL_SIDE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.HAMMING, reducing_gap=3.0)
