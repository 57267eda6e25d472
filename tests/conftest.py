"""Tests keep exported and compiled graphs in a folder of the checkout, shared by every process and every run; none is timed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["PANOPTES_CACHE"] = str(Path(__file__).parent.parent / ".pytest_cache" / "panoptes")
for name in ("HOME", "CATALOG", "MODEL", "DEVICE", "DATA", "RUNTIME", "PRECISION"):
    os.environ.pop(f"PANOPTES_{name}", None)

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def mindspore(monkeypatch):
    """MindSpore runs what a test opens, whose code it may change: so no compiled graph is kept, or taken from those kept."""
    from encoder.runtime.graph_cache import process_cache

    monkeypatch.setenv("PANOPTES_RUNTIME", "mindspore")
    monkeypatch.setattr(process_cache("CPU"), "_ended", True)


@pytest.fixture(scope="module")
def one_decoder():
    """The applications of a module share the process that decodes what is sent, for each would take a second to start."""
    from web.photo_decoder import PhotoDecoder

    decoder = PhotoDecoder()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("web.uploads.PhotoDecoder", lambda: decoder)
        yield
    decoder.close()
