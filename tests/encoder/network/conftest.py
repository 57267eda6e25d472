"""The encoder of a module's fixture `model`, by runtime."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from encoder.runtime.encoder import OptEncoder
from tests.support.runtimes import RUNTIMES, open_with


@pytest.fixture(scope="module")
def opened(model: Path) -> Callable[[str], OptEncoder]:
    """The encoder of each runtime, opened once."""
    return cache(lambda runtime: open_with(runtime, model))


@pytest.fixture(scope="module", params=RUNTIMES)
def encoder(request: pytest.FixtureRequest, opened: Callable[[str], OptEncoder]) -> OptEncoder:
    """The encoder, by each runtime in turn."""
    return opened(request.param)
