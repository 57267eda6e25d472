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
from encoder.pixels import decode_sized, prepare
from indexer.items import Failure, one_line

MISSING = "missing"
THUMBNAIL_SIDE = 512
THUMBNAIL_QUALITY = 85
REDUCED = 2  # a JPEG is decoded to no less than twice the side that the network sees


@dataclass(frozen=True)
class Job:
    """A photo to read, and how its pixels are prepared (`size` and `preprocessing` of the model's config).

    `known_sha256` is the content that needs no reading again. `path` is the file where that isn't `uri`, and `span` the
    offset and the number of the photo's bytes where they aren't the whole file.
    """

    uri: str
    size: int
    known_sha256: str | None = None
    preprocessing: str = "squash"
    path: str | None = None
    span: tuple[int, int] | None = None


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
        return Failure(job.uri, MISSING, f"{one_line(job.uri)} does not exist; check the path.")
    except OSError as error:
        return Failure(job.uri, "unreadable", f"{one_line(job.uri)} cannot be read ({error.strerror or error}).")
    except Exception as error:  # a decoder may fail in any way, and one photo must not end the run
        problem = one_line(f"{type(error).__name__}: {error}")
        return Failure(job.uri, "undecodable", f"{one_line(job.uri)} cannot be decoded ({problem}).")


def _read(job: Job) -> Photo | FileState | Failure:
    path, name = job.path or job.uri, one_line(job.uri)
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return Failure(job.uri, "not_a_file", f"{name} is not a file; check the path.")
    content = None if job.span is None else _part(path, *job.span)
    state = FileState(_sha256(path, content), status.st_size if content is None else len(content), status.st_mtime_ns)
    if state.sha256 == job.known_sha256:
        return state
    at_least = max(THUMBNAIL_SIDE, REDUCED * job.size) if job.preprocessing == "squash" else None
    image, (width, height) = decode_sized(path if content is None else content, at_least, name)
    pixels = prepare(image, job.size, job.preprocessing)
    return Photo(state, width, height, pixels, make_thumbnail(image))


def _part(path: str, offset: int, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def _sha256(path: str, content: bytes | None) -> str:
    if content is not None:
        return hashlib.sha256(content).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
