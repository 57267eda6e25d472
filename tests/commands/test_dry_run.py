"""`build-index --dry-run` says what would happen; no model is there, and nothing is written."""

from __future__ import annotations

import pytest

from tests.support.commands import manage
from tests.support.fakes import save_photo


@pytest.mark.parametrize(("options", "said"), [((), "2 added, 0 replaced"), (("--limit", 1), "1 added, 0 replaced")])
def test_what_would_be_added(tmp_path, options, said):
    for colour in ("red", "green"):
        save_photo(tmp_path / "photos" / f"{colour}.png", colour)
    own = {"PANOPTES_HOME": str(tmp_path / "home"), "PANOPTES_MODEL": "/no/such/model"}
    done = manage("build-index", tmp_path / "photos", "--dry-run", *options, **own)
    assert done.returncode == 0 and said in done.stdout and "green.png" in done.stdout
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("options", [("--watch", "--dry-run"), ("--watch", "--limit", 1), ("--dry-run", "--rebuild")])
def test_options_that_would_not_be_heeded_are_refused(tmp_path, options):
    save_photo(tmp_path / "photos" / "red.png", "red")
    done = manage("build-index", tmp_path / "photos", *options, PANOPTES_HOME=str(tmp_path / "home"))
    assert done.returncode == 2 and "goes without" in done.stderr
    assert not (tmp_path / "home").exists()
