"""The port of what writes captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from search.evaluation.captioning.photos import Photo

BATCH = 32


class Writer(Protocol):
    """Writes captions of photos."""

    def write(self, photos: Sequence[Photo], language: str) -> list[str]:
        """Write a caption of each photo in a language, in their order; an empty one where it can't."""
        ...


def write_all(
    writer: Writer, photos: Sequence[Photo], positions: Sequence[int], language: str, done: Callable[[int], None] | None = None
) -> dict[int, str]:
    """Have captions written, by the photo's position.

    Args:
        writer: who writes.
        photos: all photos.
        positions: which of them.
        language: of the captions.
        done: called with the number of photos of each batch once it is written.
    """
    written: dict[int, str] = {}
    for start in range(0, len(positions), BATCH):
        batch = positions[start : start + BATCH]
        written |= zip(batch, writer.write([photos[i] for i in batch], language), strict=True)
        if done is not None:
            done(len(batch))
    return written
