"""Photos that were sent: read safely. Those that are searched with are kept for a while: their results have an address."""

from __future__ import annotations

import os
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import IO, TYPE_CHECKING

import numpy as np
from werkzeug.datastructures import FileStorage

from search import EmptyQuery
from web.admission import AdmissionControl
from web.errors import NotKept, TooLarge
from web.limits import LARGEST_UPLOAD, LARGEST_UPLOAD_MB
from web.photo_decoder import PhotoDecoder

if TYPE_CHECKING:
    from encoder.api import EncoderConfig

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
            EmptyQuery, TooLarge: See `sent_file`.
            UnreadablePhoto, Busy: See `decode`.
        """
        file = sent_file(upload)
        name = upload.filename if upload is not None else None
        return self.decode(file, config, name or "")

    def decode(self, file: IO[bytes], config: EncoderConfig, name: str = "") -> KeptPhoto:
        """Decode a photo's file.

        Raises:
            UnreadablePhoto: It is no photo that can be read.
            Busy: Too many photos wait to be decoded.
        """
        with self.admission.slot():
            prepared, preview = self.decoder.read(file, config)
        return KeptPhoto(prepared, name, preview)


def sent_file(upload: FileStorage | None) -> IO[bytes]:
    """The file in an upload, the form field `image`. It lies on disk unless it is small; nothing of it is read here.

    Raises:
        EmptyQuery: There is no upload, or it is empty.
        TooLarge: It has more than LARGEST_UPLOAD bytes.
    """
    size = upload.stream.seek(0, os.SEEK_END) if upload is not None else 0
    if upload is None or not size:
        raise EmptyQuery("No photo was sent: choose a file for the form field 'image'.")
    if size > LARGEST_UPLOAD:
        raise TooLarge(too_large_message())
    return upload.stream


def too_large_message() -> str:
    """The message about an upload beyond the limit."""
    return f"The photo is too large: {LARGEST_UPLOAD_MB} MB is the most."
