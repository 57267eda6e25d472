from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import Manifest
from storage.errors import BrokenManifest

IDS = st.integers(1, 2**53)


@settings(deadline=None)
@given(
    st.builds(
        Manifest,
        version=IDS,
        fingerprint=st.text("0123456789abcdef", max_size=16),
        dim=IDS,
        token_shape=st.tuples(IDS, IDS),
        segments=st.lists(st.text("0123456789abcdef-"), max_size=3).map(tuple),
        tombstones=st.lists(IDS, max_size=3).map(tuple),
        next_image_id=IDS,
        next_caption_id=IDS,
    )
)
def test_a_manifest_comes_back_as_it_was(tmp_path_factory, manifest):
    path = tmp_path_factory.getbasetemp() / "manifest.json"
    manifest.save(path)
    assert Manifest.load(path) == manifest


def test_without_a_file_nothing_is_published(tmp_path):
    assert Manifest.load(tmp_path / "manifest.json") == Manifest(version=0)


def content(**changes):
    whole = {**vars(Manifest(version=3)), "format": 1, **changes}
    return json.dumps({key: value for key, value in whole.items() if value is not ...})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not readable as JSON"),
        (content()[:-20], "not readable as JSON"),
        ("\x00" * 50, "not readable as JSON"),
        ("[1]", "not a JSON object"),
        (content(format=2), "format 2, this program reads 1"),
        (content(segments=...), "'segments' is missing"),
        (content(segments="a"), "'segments' is missing or of the wrong type"),
        (content(version="3"), "'version' is missing or of the wrong type"),
        (content(next_image_id=True), "'next_image_id' is missing or of the wrong type"),
    ],
)
def test_a_damaged_manifest_is_named_with_its_remedy(tmp_path, text, says):
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(BrokenManifest, match=f"{says}"):
        Manifest.load(path)


def test_a_manifest_is_swapped_at_once_or_not_at_all(tmp_path, monkeypatch):
    """A disk that fills up or a process that dies before the swap leaves the old version."""
    path = tmp_path / "manifest.json"
    Manifest(version=1).save(path)
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        Manifest(version=2).save(path)
    assert Manifest.load(path).version == 1
