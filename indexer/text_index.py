"""A compact column of texts that can be searched by text."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa


class TextIndex:
    """Texts at positions from 0 upwards, in some 20 bytes each beside the text itself.

    All texts must be added before the first is looked up.
    """

    def __init__(self):
        self._parts: list[pa.Array] = []
        self._hashes_of_parts = [np.empty(0, np.int64)]

    def add(self, texts: list[str]) -> None:
        """Append texts."""
        self._parts.append(pa.array(texts, pa.large_string()))
        self._hashes_of_parts.append(np.fromiter(map(hash, texts), np.int64, len(texts)))

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, position: int) -> str:
        return self._column[position].as_py()

    def find_last(self, text: str, before: int | None = None) -> int | None:
        """The last position of a text, or None if it is not there.

        Args:
            text: the text.
            before: only look at positions below this one.
        """
        hashes, positions = self._index
        wanted = np.int64(hash(text))
        end = int(np.searchsorted(hashes, wanted, "right"))
        while end and hashes[end - 1] == wanted:
            end -= 1
            position = int(positions[end])
            if (before is None or position < before) and self[position] == text:
                return position
        return None

    @property
    def distinct(self) -> int:
        """The number of different texts."""
        hashes, _ = self._index
        return int(np.count_nonzero(np.diff(hashes))) + bool(len(hashes))

    @cached_property
    def _column(self) -> pa.ChunkedArray:
        return pa.chunked_array(self._parts, pa.large_string())

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        """Sorted hashes int64 [n], and the position of each [n]; positions of equal hashes are in ascending order."""
        hashes = np.concatenate(self._hashes_of_parts)
        positions = np.argsort(hashes, kind="stable")
        del self._hashes_of_parts
        return hashes[positions], positions.astype(np.int32 if len(positions) < 2**31 else np.int64)
