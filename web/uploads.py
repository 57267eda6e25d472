"""Photos that were sent to search with: read safely, and kept a while so that their results have an address."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
from werkzeug.datastructures import FileStorage

from search import EmptyQuery
from web.admission import AdmissionControl
from web.errors import NotKept, TooLarge
from web.photo_decoder import PhotoDecoder

LARGEST_UPLOAD = 20 * 1024 * 1024
PHOTOS_WAITING = 4
PATIENCE_S = 20.0


@dataclass(frozen=True, eq=False)
class KeptPhoto:
    """A photo ready to be searched with: uint8 [S, S, 3], what it was called, and a small JPEG of it."""

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
        """Keeps a photo and gives its token."""
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._photos[token] = photo
            while len(self._photos) > self._most:
                self._photos.popitem(last=False)
        return token

    def get(self, token: str) -> KeptPhoto:
        """The photo under a token; raises NotKept."""
        with self._lock:
            if token not in self._photos:
                raise NotKept("That photo is no longer kept: send it once more.")
            self._photos.move_to_end(token)
            return self._photos[token]


class UploadReader:
    """Reads photos that were sent, in a process of its own and one at a time. Thread safe."""

    def __init__(self) -> None:
        self.decoder = PhotoDecoder()
        self.gate = AdmissionControl(1, PHOTOS_WAITING, PATIENCE_S)  # a small file can unfold to hundreds of megabytes

    def read(self, upload: FileStorage | None, config) -> KeptPhoto:
        """The photo in an upload.

        Args:
            upload: the form field `image`.
            config: the encoder's, which says how photos are prepared.

        Raises what `sent_bytes` and `decoded` raise.
        """
        return self.decoded(sent_bytes(upload), config, upload.filename or "")

    def decoded(self, content: bytes, config, name: str = "") -> KeptPhoto:
        """What was sent as a photo; raises UnreadablePhoto, and Busy where too many wait to be decoded."""
        with self.gate.passing():
            prepared, preview = self.decoder.read(content, config)
        return KeptPhoto(prepared, name, preview)


def sent_bytes(upload: FileStorage | None) -> bytes:
    """All of an upload, the form field `image`; raises EmptyQuery where there is none, TooLarge beyond LARGEST_UPLOAD bytes."""
    content = upload.stream.read(LARGEST_UPLOAD + 1) if upload is not None else b""
    if not content:
        raise EmptyQuery("No photo was sent: choose a file for the form field 'image'.")
    if len(content) > LARGEST_UPLOAD:
        raise TooLarge(too_large())
    return content


def too_large() -> str:
    """What is said of an upload beyond the limit."""
    return f"The photo is too large: {LARGEST_UPLOAD // 2**20} MB is the most."
