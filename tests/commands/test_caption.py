"""`caption` writes captions of files and of collections; search tells them apart, and they are taken out again."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from tests.support.fakes import save_photo


@pytest.fixture
def folder(tmp_path):
    for colour in ("red", "green"):
        save_photo(tmp_path / "photos" / f"{colour}.png", colour)
    (tmp_path / "photos" / "green.txt").write_text("the lawn")
    return tmp_path / "photos"


@pytest.fixture
def run(tmp_path):
    """Run a command with a captioner that is a stand-in."""

    def run(*arguments, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.captioners", *map(str, arguments)],
            cwd=ROOT, capture_output=True, text=True, timeout=120, env=os.environ | {"PANOPTES_HOME": str(tmp_path / "home")},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 or done.stdout else done.stderr

    return run


def test_captions_of_a_collection_from_writing_to_taking_out(run, folder):
    built = json.loads(run("build-index", folder, "--write-captions", "--json"))
    assert [(one["language"], one["written"]) for one in built["written"]] == [("en", 1), ("zh", 2)]
    assert "1 captions written (en); 1 photos had theirs before" in run("caption", "--collection", "default")
    assert "nothing to write" in run("caption", "--collection", "default")
    assert "4 of the captions were written by a model" in run("status")
    found = run("search", "painted", "--mode", "lexical", "--rerank", "0")
    assert "a wall painted red (written by a model)" in found and "the lawn\n" in found
    assert "4 captions deleted; the photos stay." in run("delete", "--captions", "origin like 'generated%'")
    assert json.loads(run("status", "--json"))["captions"] == 1


def test_captions_of_files(run, folder):
    assert run("caption", folder / "red.png", "--beams", "1") == f"{folder / 'red.png'}: a wall painted red (-1.62)\n"
    lines = run("caption", folder / "red.png", folder / "no.png", "--lang", "zh", "--json", code=3).splitlines()
    assert json.loads(lines[0]) == {"path": str(folder / "red.png"), "caption": "一面红色的墙", "log_probability": -2.0}
    assert json.loads(lines[1])["reason"] == "missing"


def test_hybrid_search_on_written_captions_is_measured(run, folder):
    (folder / "red.txt").write_text("red bricks")
    for option, words in (("--with-generated", "both"), ("--only-generated", "generated")):
        report = json.loads(run("evaluate", folder, "--mode", "hybrid", option, "--lang", "en", "--rerank", "0", "--json"))
        assert report["words"] == words and report["results"][0]["queries"] == 2


@pytest.mark.parametrize(("arguments", "says"), [
    ([], "either FILE... or --collection"),
    (["a.png", "--missing"], "choose photos of a --collection"),
    (["--collection", "default", "--lang", "fr"], "doesn't write 'fr'"),
])  # fmt: skip
def test_what_can_not_be_done_is_one_line(run, folder, arguments, says, tmp_path):
    if "default" in arguments and "a.png" not in arguments:
        run("build-index", folder)
    told = run("caption", *arguments, code=2)
    assert says in told and "Traceback" not in told
