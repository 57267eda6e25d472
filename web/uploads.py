"""Photos that were sent to search with: read safely, and kept for a while so that their results have an address."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from werkzeug.datastructures import FileStorage

from search import EmptyQuery
from web.admission import AdmissionControl
from web.errors import NotKept, TooLarge
from web.photo_decoder import PhotoDecoder

if TYPE_CHECKING:
    from encoder.api import EncoderConfig

LARGEST_UPLOAD = 20 * 1024 * 1024
PHOTOS_WAITING = 4
QUEUE_TIMEOUT_S = 20.0


@dataclass(frozen=True, eq=False)
class KeptPhoto:
    """A photo that was sent.

    Attributes:
        prepared: The photo ready to be searched with, such as uint8 [S, S, 3].
        name: The name of its file.
        preview: A small JPEG of it.
    """

    prepared: np.ndarray
    name: str
    preview: bytes


class KeptPhotos:
    """The last `most` uploaded photos, in memory, each under a token that can't be guessed. Thread safe."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._lock = Lock()
        self._photos: OrderedDict[str, KeptPhoto] = OrderedDict()

    def keep(self, photo: KeptPhoto) -> str:
        """Keep a photo, and return its token."""
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._photos[token] = photo
            while len(self._photos) > self._most:
                self._photos.popitem(last=False)
        return token

    def get(self, token: str) -> KeptPhoto:
        """The photo under a token.

        Raises:
            NotKept: There is none, or none any more.
        """
        with self._lock:
            if token not in self._photos:
                raise NotKept("That photo is no longer kept: send it once more.")
            self._photos.move_to_end(token)
            return self._photos[token]


class UploadReader:
    """Reads photos that were sent, one at a time and in a process of their own. Thread safe."""

    def __init__(self) -> None:
        self.decoder = PhotoDecoder()
        # One at a time: a small file can unfold to hundreds of megabytes.
        self.admission = AdmissionControl(1, PHOTOS_WAITING, QUEUE_TIMEOUT_S)

    def read(self, upload: FileStorage | None, config: EncoderConfig) -> KeptPhoto:
        """Read and decode the photo in an upload.

        Args:
            upload: The form field `image`.
            config: The encoder's config, which says how photos are prepared.

        Raises:
            EmptyQuery, TooLarge: See `upload_bytes`.
            UnreadablePhoto, Busy: See `decode`.
        """
        content = upload_bytes(upload)
        name = upload.filename if upload is not None else None
        return self.decode(content, config, name or "")

    def decode(self, content: bytes, config: EncoderConfig, name: str = "") -> KeptPhoto:
        """Decode the bytes of a photo.

        Raises:
            UnreadablePhoto: They are no photo that can be read.
            Busy: Too many photos wait to be decoded.
        """
        with self.admission.slot():
            prepared, preview = self.decoder.read(content, config)
        return KeptPhoto(prepared, name, preview)


def upload_bytes(upload: FileStorage | None) -> bytes:
    """All bytes of an upload, the form field `image`.

    Raises:
        EmptyQuery: There is no upload, or it is empty.
        TooLarge: It has more than LARGEST_UPLOAD bytes.
    """
    content = upload.stream.read(LARGEST_UPLOAD + 1) if upload is not None else b""
    if not content:
        raise EmptyQuery("No photo was sent: choose a file for the form field 'image'.")
    if len(content) > LARGEST_UPLOAD:
        raise TooLarge(too_large_message())
    return content


def too_large_message() -> str:
    """The message about an upload beyond the limit."""
    return f"The photo is too large: {LARGEST_UPLOAD // 2**20} MB is the most."
