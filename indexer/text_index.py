"""A column of texts that is searched by text, without a Python object for each."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa


class TextIndex:
    """Texts in places from 0 upwards, some 20 bytes each beside their own. All are added before the first is asked for."""

    def __init__(self):
        self._parts: list[pa.Array] = []
        self._hashes_of_parts = [np.empty(0, np.int64)]

    def add(self, texts: list[str]) -> None:
        """Append some."""
        self._parts.append(pa.array(texts, pa.large_string()))
        self._hashes_of_parts.append(np.fromiter(map(hash, texts), np.int64, len(texts)))

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, place: int) -> str:
        return self._column[place].as_py()

    def last(self, text: str, before: int | None = None) -> int | None:
        """The last place where this text is, of those before `before`; None where there is none."""
        hashes, places = self._index
        asked = np.int64(hash(text))
        end = int(np.searchsorted(hashes, asked, "right"))
        while end and hashes[end - 1] == asked:
            end -= 1
            place = int(places[end])
            if (before is None or place < before) and self[place] == text:
                return place
        return None

    @property
    def distinct(self) -> int:
        """How many different texts there are."""
        hashes, _ = self._index
        return int(np.count_nonzero(np.diff(hashes))) + bool(len(hashes))

    @cached_property
    def _column(self) -> pa.ChunkedArray:
        return pa.chunked_array(self._parts, pa.large_string())

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        """Hashes int64 upwards and the places of the texts that have them; of equal hashes the places upwards."""
        hashes = np.concatenate(self._hashes_of_parts)
        places = np.argsort(hashes, kind="stable")
        del self._hashes_of_parts
        return hashes[places], places.astype(np.int32 if len(places) < 2**31 else np.int64)
