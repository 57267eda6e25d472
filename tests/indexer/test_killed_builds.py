"""Tests of runs that are killed, or find the disk full, at any step of writing (see `tests/support/crashes.py`).

`make test` tries one event in some dozen, `make test-long` every one.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from indexer import build_index, open_source
from storage import Home
from storage.errors import CollectionBusy, UnusableHome
from tests.support.commands import ROOT
from tests.support.crashes import BATCH, FULL, KILL
from tests.support.fakes import FakeEncoder, save_photo

UNDER_WAY = 2
"""Batches that may be encoded and not yet durable: the one being written and the next one."""


def crashes(command, how, first, step):
    """The report of `tests.support.crashes`, run in a folder in memory if possible."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.crashes", folder, command, how, str(first), str(step)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=3000,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


SOME = [
    *(("build", KILL, 24), ("build", FULL, 24), ("compact", KILL, 15), ("compact", FULL, 8)),
    *(("caption", KILL, 11), ("caption", FULL, 9)),
]
EVERY = [
    pytest.param(command, how, 1, marks=pytest.mark.long) for command in ("build", "compact", "caption") for how in (KILL, FULL)
]


@pytest.mark.parametrize(("command", "how", "step"), [*SOME, *EVERY])
def test_after_any_kill_or_full_disk_the_next_run_gives_the_same_result(command, how, step):
    found = crashes(command, how, first=min(4, step), step=step)
    whole = found["whole"]
    assert found["events"] > 30 and whole["ended"] == "done" and found["before"] != whole["finally"]
    assert len(found["runs"]) >= 5
    for run in found["runs"]:
        assert run["ended"] is None if how == KILL else run["ended"].startswith("UnusableHome: Can't write to"), run
        assert run["seen"] in (found["before"], whole["finally"]), run
        assert run["finally"] == whole["finally"] and run["version"] == 3, run
        assert run["encoded"] <= whole["encoded"] + UNDER_WAY * BATCH, run
        assert run["left"] == run["wrong"] == [], run


@pytest.mark.parametrize("times", [3, pytest.param(60, marks=pytest.mark.long)])
def test_runs_killed_again_and_again_at_random_times(times):
    found = crashes("build", "random", first=20261125, step=times)
    assert len(found["runs"]) == times
    for run in found["runs"]:
        assert set(run["all_seen"]) <= {found["before"], found["whole"]["finally"]}
        assert run["finally"] == found["whole"]["finally"] and run["left"] == run["wrong"] == []


@pytest.fixture
def photos(tmp_path):
    for number in range(6):
        save_photo(tmp_path / "photos" / f"{number}.png", (number * 30, 9, 9))
    return tmp_path / "photos"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def build(home, photos):
    return build_index(home, "walls", open_source(photos), FakeEncoder(), workers=0)


@pytest.mark.parametrize("most", [2_000, 20_000])
def test_a_file_that_reaches_the_size_limit_of_the_system(home, photos, most):
    """The system refuses to write, in Python, Arrow, FAISS or SQLite."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    build(home, photos)
    for number in range(6, 60):
        save_photo(photos / f"{number}.png", (number * 4, 99, 9))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(Exception, match="Can't write to|can't be used") as raised:
            build(home, photos)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert type(raised.value).__name__ in ("UnusableHome", "CatalogError")
    assert home.collection("walls").open_snapshot().image_count == 6
    assert build(home, photos).images == 60


def test_a_read_only_home_is_named_and_can_be_searched(home, photos, monkeypatch):
    build(home, photos)
    opened = os.open

    def read_only(path, flags, *mode, **named):
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, flags, *mode, **named)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(UnusableHome, match="Read-only file system"):
        build(home, photos)
    assert home.collection("walls").open_snapshot().image_count == 6


def test_a_second_run_at_the_same_time_gets_one_clear_line(home, photos):
    with home.create_collection("walls").writer("x"), pytest.raises(CollectionBusy, match="wait for it to end"):
        build(home, photos)
