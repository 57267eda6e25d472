"""From a path to what encoder and collection need of an image. Runs in worker processes, so it imports little."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image

from encoder.errors import UnreadableImage
from encoder.inputs.image_inputs import Files, ImageInput, LoadedImage, check, files_of, load_image
from encoder.inputs.pixels import decode_sized
from indexer.items import Failure, one_line

MISSING = "missing"
THUMBNAIL_SIDE = 512
THUMBNAIL_QUALITY = 85
REDUCED = 2  # a JPEG is decoded to no less than twice the side that the network sees


@dataclass(frozen=True)
class Job:
    """A photo to read, and what is to be made of it (`inputs` of the model's config).

    `known_sha256` is the content that needs no reading again. `features` is the `.npz` of the photo where it has one; `uri` is
    one itself where there is no photo. `path` is the file where that isn't `uri`, and `span` the offset and the number of the
    photo's bytes where they aren't the whole file.
    """

    uri: str
    inputs: ImageInput
    known_sha256: str | None = None
    features: str | None = None
    path: str | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class FileState:
    """A file as it was when it was read; of a photo and its features both, added up."""

    sha256: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Photo:
    """A photo that was read: upright `width` and `height`, `pixels` as `inputs` made them, `thumbnail` a JPEG file.

    Of features without a photo, `pixels` are rows of regions, and the thumbnail shows where these lie.
    """

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
    files = files_of(path, job.features, job.inputs)
    if files.features is not None or job.inputs.region_width:
        return _read_features(job, files)
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return Failure(job.uri, "not_a_file", f"{name} is not a file; check the path.")
    content = None if job.span is None else _part(path, *job.span)
    state = FileState(_sha256(path, content), status.st_size if content is None else len(content), status.st_mtime_ns)
    if state.sha256 == job.known_sha256:
        return state
    reduced = job.inputs.reduced_to
    at_least = max(THUMBNAIL_SIDE, REDUCED * reduced) if reduced else None
    image, (width, height) = decode_sized(path if content is None else content, at_least, name)
    return Photo(state, width, height, job.inputs.make(LoadedImage(image, None)), make_thumbnail(image))


def _part(path: str, offset: int, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def _sha256(path: str, content: bytes | None = None) -> str:
    if content is not None:
        return hashlib.sha256(content).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_features(job: Job, files: Files) -> Photo | FileState | Failure:
    """Regions, and the photo beside them if there is one."""
    check(files, job.inputs)
    for path in files.all:
        if not os.path.isfile(path):
            reason = "not_a_file" if os.path.exists(path) else "missing"
            return Failure(job.uri, reason, f"{one_line(path)} is not a file; check the path.")
    looks = looks_of(files.all)
    contents = [_sha256(path) for path in files.all]
    together = contents[0] if len(contents) == 1 else hashlib.sha256(" ".join(contents).encode()).hexdigest()
    state = FileState(together, *looks)
    if state.sha256 == job.known_sha256:
        return state
    seen = load_image(files, job.inputs)
    return Photo(state, *seen.size, job.inputs.make(seen), make_thumbnail(seen.picture()))


def looks_of(paths: list[str]) -> tuple[int, int]:
    """Size and time of change, those of several files added up: the sum changes with either. Raises OSError."""
    found = [os.stat(path) for path in paths]
    return sum(one.st_size for one in found), sum(one.st_mtime_ns for one in found)


def make_thumbnail(image: Image.Image) -> bytes:
    """The RGB image as a JPEG file of at most 512 pixels on the longer side; small images keep their size."""
    small = image.copy() if max(image.size) <= THUMBNAIL_SIDE else _shrunk(image)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()


def _shrunk(image: Image.Image) -> Image.Image:
    scale = THUMBNAIL_SIDE / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    return image.resize(size, Image.Resampling.HAMMING, reducing_gap=3.0)
