"""The encoder of a module's fixture `model`, by each runtime."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from encoder.runtime.encoder import OptEncoder
from tests.support.runtimes import WAYS, encoder_by


@pytest.fixture(scope="module")
def opened(model: Path) -> Callable[[str], OptEncoder]:
    """The encoder, opened once in each way."""
    return cache(lambda way: encoder_by(way, model))


@pytest.fixture(scope="module", params=WAYS)
def encoder(request: pytest.FixtureRequest, opened: Callable[[str], OptEncoder]) -> OptEncoder:
    """The encoder, in each way in turn."""
    return opened(request.param)
