"""How many pixels are read, and what is not read at all."""

from __future__ import annotations

import warnings
from threading import Lock

from PIL import Image

MAX_PIXELS = 200_000_000


class Unsupported(Exception):
    """The pixels of a photo are of a kind that is not read; the message follows the photo's name in a sentence."""


class _Guard:
    """Sets the limit of Pillow's guard against decompression bombs to MAX_PIXELS for a `with`.

    The limit is one for the whole process: it is set while any thread is inside, and put back when the last one leaves. A
    photo above it is refused before memory is taken for it.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limit: int | None = None
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limit, self._warnings = Image.MAX_IMAGE_PIXELS, warnings.catch_warnings()
                self._warnings.__enter__()
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # it warns from here on, and refuses more than twice as many
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._limit
                self._warnings.__exit__(None, None, None)


GUARD = _Guard()


def check_pixels(size: tuple[int, int]) -> None:
    """Check a (width, height) as Pillow checks those that it opens; call it within GUARD.

    Raises:
        Image.DecompressionBombError: there are more than MAX_PIXELS pixels.
    """
    if Image.MAX_IMAGE_PIXELS is not None and size[0] * size[1] > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{size[0]} x {size[1]} pixels are too many")
