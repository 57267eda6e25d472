"""A watched source is opened with the options that it was indexed with before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from indexer import build_index, open_source
from storage import Home
from tests.support.fakes import FakeEncoder, save_photo
from web.watch_runner import recorded_options


@pytest.fixture
def home(tmp_path):
    save_photo(tmp_path / "photos" / "red.png")
    home = Home(tmp_path / "home")
    build_index(home, "default", open_source(tmp_path / "photos", exclude=["old/"]), FakeEncoder(), limit=1)
    return home


@pytest.mark.parametrize("written", ["photos", "photos/", "photos/../photos", "~/photos"])
def test_a_source_is_known_however_its_path_is_written(home, tmp_path, monkeypatch, written):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert recorded_options(home, "default", Path(written)) == ["--exclude", "old/"]


def test_another_source_and_another_collection_have_no_options(home, tmp_path):
    assert recorded_options(home, "default", tmp_path / "others") == []
    assert recorded_options(home, "nowhere", tmp_path / "photos") == [] and not os.path.exists(tmp_path / "others")
