"""Tests keep exported and compiled graphs in a folder of the checkout, for every run; none is timed."""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from pathlib import Path

import google.protobuf.internal.api_implementation  # noqa: F401  before MindSpore, which would choose the slow one in Python
import pytest
from hypothesis import settings


def own_cache() -> Path:
    """The cache of this process: all share the exported graphs; compiled ones are its own, so that none waits for another."""
    shared = Path(__file__).parent.parent / ".pytest_cache" / "panoptes"
    own = shared / os.environ.get("PYTEST_XDIST_WORKER", "main")
    own.mkdir(parents=True, exist_ok=True)
    (shared / "graphs").mkdir(exist_ok=True)
    with suppress(FileExistsError):
        (own / "graphs").symlink_to(Path("..") / "graphs")
    return own


os.environ["PANOPTES_CACHE"] = str(own_cache())
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each command would compile all that it imports
for name in ("HOME", "CATALOG", "MODEL", "DEVICE", "DATA", "RUNTIME", "PRECISION"):
    os.environ.pop(f"PANOPTES_{name}", None)

LONGEST = (
    "encoder/exporting/test_onnx_export",
    "browser/test_pages",
    "encoder/network/test_single_stream",
    "encoder/runtime/test_encoder",
    "encoder/runtime/test_graph_cache",
    "commands/test_interrupted",
    "encoder/runtime/test_runtimes",
    "encoder/network/test_region_stream",
    "encoder/importing/test_imported_numbers",
    "encoder/training/test_matching",
    "commands/test_command_line",
    "web/api/test_schemathesis",
    "commands/test_demo",
    "indexer/test_killed_builds",
    "commands/test_reranker",
    "commands/test_lifecycle",
    "web/serving/test_slow_clients",
    "web/api/test_builds",
    "encoder/network/test_opt",
)
"""The files that take longest, so that no worker begins one of them when the others have little left to do."""

settings.register_profile("the same examples", deadline=None, derandomize=True)
settings.register_profile("new examples", deadline=None)
settings.load_profile(os.environ.get("PANOPTES_TEST_EXAMPLES", "the same examples"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    places = {f"tests/{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection_finish() -> None:
    """Leave all that was imported out of garbage collection: MindSpore collects at each graph that it compiles."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def mindspore(monkeypatch):
    """MindSpore runs what a test opens, whose code it may change: so no compiled graph is kept, or taken from those kept."""
    from encoder.runtime.graph_cache import process_cache

    monkeypatch.setenv("PANOPTES_RUNTIME", "mindspore")
    monkeypatch.setattr(process_cache("CPU"), "_ended", True)


@pytest.fixture
def step_by_step():
    """MindSpore runs operator by operator what a test calls: in graph mode each part that is called is compiled first."""
    from tests.support.runtimes import operator_by_operator

    with operator_by_operator():
        yield


@pytest.fixture(scope="module")
def one_decoder():
    """The applications of a module share the process that decodes what is sent, for each would take a second to start."""
    from web.photo_decoder import PhotoDecoder

    decoder = PhotoDecoder()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("web.uploads.PhotoDecoder", lambda: decoder)
        yield
    decoder.close()
