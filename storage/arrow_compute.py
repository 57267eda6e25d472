"""pyarrow.compute for the type checker: the library makes its functions at import time, and has no stubs that name them."""

from __future__ import annotations

from typing import Any

import pyarrow.compute

pc: Any = pyarrow.compute
