"""A collection's life through the real commands, each in a process of its own, with small random weights."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from indexer.segment_filler import IMAGE_BATCH
from storage import Home
from storage.segments.journal import Journal
from tests.support.commands import ROOT, answer, manage
from tests.support.fakes import FakeEncoder, save_photo
from tests.support.galleries import build_gallery, ids_by_name
from tests.support.small_models import write_small_model
from web import create_app

COMMANDS = ["add", "read-text", "delete", "compact", "versions", "rollback", "verify", "repair", "failures", "retry-failures"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_small_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def photos(tmp_path):
    """Three photos that differ, and one that is none."""
    for number, name in enumerate(["red", "green", "blue"]):
        save_photo(tmp_path / "photos" / f"{name}.png", name, (40 + number, 30))
    (tmp_path / "photos" / "bad.png").write_text("no photo")
    return tmp_path / "photos"


def test_a_collection_grows_shrinks_goes_back_and_is_verified(photos, tmp_path, model):
    own = {"PANOPTES_HOME": str(tmp_path / "home"), "PANOPTES_MODEL": model}
    assert manage("build-index", photos, **own).returncode == 3
    (failure,) = answer("failures", **own)["failures"]
    assert (failure["reason"], failure["searchable"]) == ("not_an_image", False)
    save_photo(photos / "bad.png", "white")
    tried = answer("retry-failures", **own)
    assert (tried["tried"], tried["failures"]) == (1, [])

    black = save_photo(tmp_path / "black.png", "black")
    (image_id,) = answer("add", black, "--caption", "夜", **own)["ids"].values()
    assert manage("add", tmp_path / "nowhere.png", **own).returncode == 2
    assert manage("add", black, photos / "red.png", "--caption", "night", **own).returncode == 2
    report = answer("verify", "--sample", 9, **own)
    assert (report["images"], report["captions"], report["problems"]) == (5, 1, [])
    assert (report["sample"]["checked"], report["sample"]["skipped"]) == (5, 0)

    assert answer("delete", image_id, **own)["images"] == 4
    done = manage("delete", image_id, **own)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "search QUERY --json" in done.stderr
    listed = answer("versions", **own)["versions"]
    assert [(one["version"], one["images"], one["change"]) for one in listed] == [
        (4, 4, "1 deleted"),
        (3, 5, "1 added"),
        (2, 4, "1 added"),
        (1, 3, "3 added"),
    ]
    assert answer("rollback", 3, **own)["version"] == 5
    assert answer("compact", "--keep", 0, **own)["images"] == 5
    assert manage("rollback", 3, **own).returncode == 2

    for name in ("red", "green", "blue"):
        (photos / f"{name}.png").unlink()
    done = manage("build-index", photos, **own)
    assert done.returncode == 2 and "--drop-missing" in done.stderr and "Traceback" not in done.stderr
    assert answer("build-index", photos, "--keep-missing", **own)["removed"] == 0
    assert answer("build-index", photos, "--drop-missing", **own)["removed"] == 3


def has_a_batch(journal: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):  # the segment is finished
        return any(Journal(journal).batches())
    return False


def stored(home: Path):
    """All rows and vectors of a home's collection, as bytes."""
    snapshot = Home(home).collection("default").open_snapshot()
    ids, captions = snapshot.image_ids(), snapshot.caption_ids()
    return (
        snapshot.images(ids),
        snapshot.image_vectors(ids).tobytes(),
        snapshot.tokens(ids).tobytes(),
        snapshot.captions(captions),
        snapshot.caption_vectors(captions).tobytes(),
    )


def test_a_killed_run_of_a_real_network_ends_in_the_same_bytes(tmp_path, model):
    for number in range(150):
        save_photo(tmp_path / "photos" / f"{number}.png", (number, 255 - number, 90), (20 + number % 7, 20))
        (tmp_path / "photos" / f"{number}.txt").write_text("a dog on the beach\n" * (1 + number % 3) + f"红 {number}")
    build = [sys.executable, "manage.py", "build-index", str(tmp_path / "photos"), "--model", model, "--home"]
    run = subprocess.Popen([*build, str(tmp_path / "killed")], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    segments = tmp_path / "killed" / "collections" / "default" / "segments"
    while run.poll() is None and not any(has_a_batch(path) for path in segments.glob("*.journal")):
        time.sleep(0.01)
    run.kill()
    run.wait()
    again = answer("build-index", tmp_path / "photos", "--model", model, "--home", tmp_path / "killed")
    assert again["images"] == 150 and again["resumed"] + again["unchanged"] >= IMAGE_BATCH
    answer("build-index", tmp_path / "photos", "--model", model, "--home", tmp_path / "whole")
    assert stored(tmp_path / "killed") == stored(tmp_path / "whole")


def test_damage_is_found_and_mended(photos, tmp_path, model):
    own = {"PANOPTES_HOME": str(tmp_path / "home"), "PANOPTES_MODEL": model}
    (photos / "bad.png").unlink()
    answer("build-index", photos, **own)
    (segment,) = (tmp_path / "home" / "collections" / "default" / "segments").iterdir()
    (segment / "image_tokens.npy").write_bytes(b"")
    found = manage("verify", "--json", **own)
    assert found.returncode == 3 and json.loads(found.stdout)["problems"][0]["where"] == "segment"
    assert "python manage.py repair" in manage("search", "red", **own).stderr
    mended = answer("repair", **own)
    assert (mended["encoded_again"], mended["images"], mended["failures"]) == (3, 3, [])
    assert answer("verify", **own)["problems"] == []

    for path in (tmp_path / "home" / "collections" / "default" / "segments").iterdir():
        (path / "image_tokens.npy").write_bytes(b"")
    (photos / "red.png").unlink()
    mended = manage("repair", "--json", **own)
    assert mended.returncode == 3
    (lost,) = json.loads(mended.stdout)["failures"]
    assert Path(lost["uri"]).name == "red.png"


def test_a_server_goes_on_through_deletion_and_compaction(tmp_path):
    """No request fails, and in the end the new version is what is served."""
    collection = build_gallery(tmp_path)
    ids, problems, versions = ids_by_name(collection), [], set()
    app, stop = create_app(Home(tmp_path / "var"), FakeEncoder()), threading.Event()

    def ask():
        client = app.test_client()
        while not stop.is_set():
            found = client.get("/api/v1/search?q=a red wall&top=3")
            photo = client.get(f"/thumbnails/{ids['red']}")
            if (found.status_code, photo.status_code) != (200, 200) or found.json["hits"][0]["id"] != ids["red"]:
                problems.append((found.status_code, photo.status_code, found.data[:200]))
            versions.add(collection.manifest.version)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    home = ["--home", tmp_path / "var"]
    for colour in ("green", "black"):
        assert answer("delete", ids[colour], *home)["changed"]
        assert answer("compact", "--keep", 0, *home)["changed"]
    time.sleep(0.2)
    stop.set()
    for asker in askers:
        asker.join()
    assert problems == [] and versions >= {1, 5}
    hits = app.test_client().get("/api/v1/search?q=a red wall&top=10").json["hits"]
    assert sorted(hit["id"] for hit in hits) == sorted(ids[name] for name in ("red", "blue", "yellow", "white"))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_is_read_and_written(command):
    text = " ".join(manage(command, "--help").stdout.split())
    assert "Reads" in text and ("Writes" in text or "writes nothing" in text)


@pytest.mark.parametrize(
    "command",
    [
        ["delete", 1],
        ["compact"],
        ["versions"],
        ["rollback", 1],
        ["verify"],
        ["repair"],
        ["failures"],
        ["retry-failures"],
        ["read-text"],
    ],
)
def test_a_collection_that_is_not_there_is_one_line(tmp_path, command):
    done = manage(*command, "--home", tmp_path)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "build-index SOURCE" in done.stderr and list(tmp_path.iterdir()) == []


def test_delete_takes_a_filter_or_ids_and_never_both(tmp_path):
    collection = build_gallery(tmp_path)
    home = ("--home", collection.folder.parent.parent, "--collection", collection.name)
    ids = ids_by_name(collection)
    for wrong in (["delete"], ["delete", 1, "--where", "width > 1"], ["delete", "--where", "colour = 'red'"]):
        done = manage(*wrong, *home)
        assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "no column is called colour" in done.stderr

    done = answer("delete", "--where", "name = 'red.jpg' or name like 'gr%'", *home)
    assert done["deleted"] == sorted([ids["red"], ids["green"]])
    nothing = answer("delete", "--where", "width > 100000", *home)
    assert (nothing["deleted"], nothing["changed"]) == ([], False)
    assert set(ids_by_name(collection)) == set(ids) - {"red", "green"}
