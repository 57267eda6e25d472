"""A .npy file that grows row by row, so that the tokens of a segment never lie in memory together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.lib import format as npy

DTYPE = np.dtype(np.float16)


class TokenFile:
    """A file of float16 [n, L, H] whose n is known only at the end."""

    def __init__(self, path: Path, token_shape: tuple[int, int]):
        """Begin the file; `token_shape` is (L, H)."""
        self._shape, self._rows = token_shape, 0
        self._file = open(path, "wb")  # noqa: SIM115
        self._write_header()

    def append(self, tokens: np.ndarray) -> None:
        """Append the tokens of m images, float [m, L, H]."""
        self._file.write(np.ascontiguousarray(tokens, dtype=DTYPE).tobytes())
        self._rows += len(tokens)

    def close(self) -> None:
        """Write the number of rows into the header, and close. A second call does nothing."""
        if self._file.closed:
            return
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        # numpy leaves room in the header for the first axis to grow to 21 digits: it can be overwritten in place.
        shape = (self._rows, *self._shape)
        npy.write_array_header_1_0(self._file, {"descr": npy.dtype_to_descr(DTYPE), "fortran_order": False, "shape": shape})
