"""From a path to what encoder and collection need of a photo. Runs in worker processes, so it imports little."""

import hashlib
import io
import os
import stat
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image

from encoder.errors import UnreadableImage
from encoder.pixels import decode, prepare
from indexer.items import Failure

MISSING = "missing"
THUMBNAIL_SIDE = 512
THUMBNAIL_QUALITY = 85


@dataclass(frozen=True)
class Job:
    """A photo to read, and how its pixels are prepared (`size` and `preprocessing` of the model's config).

    `known_sha256` is the content that needs no reading again.
    """

    uri: str
    size: int
    known_sha256: str | None = None
    preprocessing: str = "squash"


@dataclass(frozen=True)
class FileState:
    """A file as it was when it was read."""

    sha256: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Photo:
    """A photo that was read: upright `width` and `height`, `pixels` uint8 [S, S, 3], `thumbnail` a JPEG file."""

    file: FileState
    width: int
    height: int
    pixels: np.ndarray
    thumbnail: bytes


def load_photo(job: Job) -> Photo | FileState | Failure:
    """The photo, or only its file's state when the content is the known one, or why it can't be used. Never raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on metadata would run through the progress bar
            return _read(job)
    except UnreadableImage as error:
        return Failure(job.uri, error.reason, str(error))
    except FileNotFoundError:
        return Failure(job.uri, MISSING, f"{job.uri} does not exist; check the path.")
    except OSError as error:
        return Failure(job.uri, "unreadable", f"{job.uri} cannot be read ({error.strerror or error}).")
    except Exception as error:  # a decoder may fail in any way, and one photo must not end the run
        return Failure(job.uri, "undecodable", f"{job.uri} cannot be decoded ({type(error).__name__}: {error}).")


def _read(job: Job) -> Photo | FileState | Failure:
    status = os.stat(job.uri)
    if not stat.S_ISREG(status.st_mode):
        return Failure(job.uri, "not_a_file", f"{job.uri} is not a file; check the path.")
    with open(job.uri, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    state = FileState(sha256, status.st_size, status.st_mtime_ns)
    if sha256 == job.known_sha256:
        return state
    image = decode(job.uri)
    pixels = prepare(image, job.size, job.preprocessing)
    return Photo(state, image.width, image.height, pixels, make_thumbnail(image))


def make_thumbnail(image: Image.Image) -> bytes:
    """The RGB image as a JPEG file of at most 512 pixels on the longer side; small images keep their size."""
    small = image.copy() if max(image.size) <= THUMBNAIL_SIDE else _shrunk(image)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()


def _shrunk(image: Image.Image) -> Image.Image:
    scale = THUMBNAIL_SIDE / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
