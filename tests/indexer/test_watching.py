"""`build-index --watch`: what changes in a folder is indexed once it is whole, and nothing else is looked at."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from threading import Event, Thread

import pytest
from watchdog.events import FileClosedEvent

from indexer import build_index, open_source
from indexer.errors import UnknownFormat
from indexer.watching import (
    CLOSED,
    GONE,
    QUIET_S,
    TOLD_AT_FIRST,
    UNCLOSED_S,
    WRITTEN,
    PendingChanges,
    Watch,
    _Handler,
    changed_photos,
)
from storage import Home
from tests.support.fakes import FakeEncoder, save_photo

COLOURS = ("red", "green", "blue", "white")


def test_a_path_waits_until_nothing_more_happens_to_it():
    changes = PendingChanges()
    changes.note("a", WRITTEN, 0)
    changes.note("b", CLOSED, 0)
    changes.note("c", GONE, QUIET_S)
    assert changes.take(QUIET_S) == {"b"}
    assert changes.take(2 * QUIET_S) == {"c"}
    changes.note("a", WRITTEN, UNCLOSED_S)  # it is still being written
    assert changes.take(UNCLOSED_S) == set()
    changes.note("a", CLOSED, UNCLOSED_S)
    assert changes.take(UNCLOSED_S + QUIET_S) == {"a"} and changes.take(10**9) == set()


@pytest.fixture
def folder(tmp_path):
    for colour in COLOURS:
        save_photo(tmp_path / "photos" / "2024" / f"{colour}.png", colour)
    return tmp_path / "photos"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def watch(home, folder):
    """A watch whose first look is done, and which is told of changes by hand."""
    told, built = [], []

    def build(source, partial):
        built.append((sorted(Path(item.uri).name for item in source), partial))
        return build_index(home, "default", source, FakeEncoder(), partial=partial)

    made = Watch(home, "default", lambda: open_source(folder), build, told.append)
    made.told, made.built = told, built
    made._index_all()
    built.clear()
    return made


def names(home) -> dict[str, list[str]]:
    snapshot = home.collection("default").open_snapshot()
    captions = snapshot.captions_of(snapshot.image_ids())
    return {Path(i.uri).name: [c.text for c in captions[i.image_id]] for i in snapshot.images(snapshot.image_ids())}


def test_only_what_changed_is_looked_at(watch, home, folder):
    new = save_photo(folder / "2025" / "new.png", "black")
    watch.index_changes({str(new)})
    assert watch.built == [(["new.png"], True)] and set(names(home)) == {*(f"{c}.png" for c in COLOURS), "new.png"}


@pytest.mark.parametrize("text", ["red.txt", "red.png.txt", "red.en.txt"])
def test_a_text_changes_the_captions_of_its_photo(watch, home, folder, text):
    path = folder / "2024" / text
    path.write_text("a wall")
    watch.index_changes({str(path)})
    assert watch.built == [(["red.png"], True)] and names(home)["red.png"] == ["a wall"]

    path.unlink()
    watch.index_changes({str(path)})
    assert names(home)["red.png"] == []


def test_photos_that_are_gone_leave_and_moved_ones_keep_their_vectors(watch, home, folder):
    (folder / "2024" / "red.png").unlink()
    (folder / "2024" / "blue.png").rename(folder / "moved.png")
    watch.index_changes({str(folder / "2024" / "red.png"), str(folder / "2024" / "blue.png"), str(folder / "moved.png")})
    assert set(names(home)) == {"green.png", "white.png", "moved.png"}


def test_a_folder_that_came_or_went_is_looked_at_whole(watch, home, folder):
    shutil.copytree(folder / "2024", folder / "again")
    watch.index_changes({str(folder / "again")})
    assert watch.built == [(sorted(f"{colour}.png" for colour in COLOURS), True)]
    shutil.rmtree(folder / "again")
    watch.missing = "drop"
    watch.index_changes({str(folder / "again")})
    assert home.collection("default").manifest.images == 4


def test_a_folder_in_the_place_of_another_has_its_own_photos(watch, home, folder):
    (folder / "2024").rename(folder / "old")
    (folder / "old" / "red.png").unlink()
    save_photo(folder / "2024" / "new.png", "black")
    watch.index_changes({str(folder / "2024"), str(folder / "old")})
    assert set(names(home)) == {"green.png", "blue.png", "white.png", "new.png"}


def test_more_than_half_is_not_removed(watch, home, folder):
    for colour in COLOURS[:3]:
        (folder / "2024" / f"{colour}.png").unlink()
    changed = {str(folder / "2024" / f"{colour}.png") for colour in COLOURS[:3]}
    watch._attempt(lambda: watch.index_changes(changed), changed)
    assert home.collection("default").manifest.images == 4 and "3 of the 4" in watch.told[-1]
    assert watch.changes.take(10**9) == set()


def test_patterns_and_tables_of_captions_concern_everything(watch, home, folder):
    (folder / ".panoptesignore").write_text("red.*\n")
    watch.index_changes({str(folder / ".panoptesignore")})
    assert watch.built[-1][1] is False and "red.png" not in names(home)
    (folder / "captions.csv").write_text("image,caption\ngreen.png,a meadow\n")
    watch.index_changes({str(folder / "captions.csv")})
    assert watch.built[-1][1] is False and names(home)["green.png"] == ["a meadow"]
    new = save_photo(folder / "yellow.png", "yellow")
    watch.index_changes({str(new)})
    assert watch.built[-1][1] is False and names(home)["green.png"] == ["a meadow"]


def test_a_busy_collection_is_tried_again_and_told_once(watch, home, folder):
    new = save_photo(folder / "new.png", "black")
    with home.collection("default").writer(FakeEncoder().fingerprint):
        for _ in range(2):
            watch._attempt(lambda: watch.index_changes({str(new)}), {str(new)})
    assert [line for line in watch.told if "goes on" in line] == [watch.told[-1]]
    assert watch.changes.take(time.monotonic() + 60) == {str(new)}


def test_excluded_files_stay_out(folder):
    new = save_photo(folder / "trash" / "new.png", "black")
    assert len(changed_photos(folder, ["trash/"], {str(new)})) == 0


def pixels(folder, name: str, colour: str) -> Path:
    """A photo under any ending; what it is is told by its content."""
    path = folder / name
    path.write_bytes(save_photo(folder.parent / "other.png", colour).read_bytes())
    return path


def test_of_a_raw_file_and_its_jpeg_the_one_that_build_index_would_take_is_there(watch, home, folder):
    raw = pixels(folder, "1.CR2", "black")
    watch.index_changes({str(raw)})
    assert "1.CR2" in names(home)
    small = pixels(folder, "1.jpg", "yellow")
    watch.index_changes({str(small)})
    assert "1.jpg" in names(home) and "1.CR2" not in names(home)
    small.unlink()
    watch.index_changes({str(small)})
    assert "1.CR2" in names(home) and "1.jpg" not in names(home)


@pytest.mark.parametrize(("sidecar", "its"), [("red.png.json", "red.png"), ("red.png(2).json", "red(2).png")])
def test_a_sidecar_that_is_gone_says_nothing_any_more(watch, home, folder, sidecar, its):
    save_photo(folder / "2024" / "red(2).png", "black")
    path = folder / "2024" / sidecar
    path.write_text('{"description": "our dog"}')
    watch._index_all()
    assert names(home)[its] == ["our dog"]
    path.unlink()
    watch.index_changes({str(path)})
    assert names(home)[its] == [] and watch.built[-1][1]


def test_what_could_not_be_looked_at_at_first_is_looked_at_whole(watch, home, folder):
    (folder / "2024" / "red.png").unlink()
    watch.index_changes({str(folder)})
    assert watch.built[-1][1] is False and "red.png" not in names(home)


def test_a_failure_is_forgotten_when_it_is_mended_or_gone(watch, home, folder):
    photo, text = folder / "broken.png", folder / "2024" / "red.txt"
    photo.write_bytes(b"none")
    text.write_bytes(b"\xff\xfe\xff")
    watch.index_changes({str(photo), str(text)})
    assert {Path(one.uri).name for one in home.catalog.failures("default")} == {"broken.png", "red.txt"}
    text.write_text("a wall")
    watch.index_changes({str(text)})
    photo.unlink()
    watch.index_changes({str(photo)})
    assert home.catalog.failures("default") == [] and names(home)["red.png"] == ["a wall"]


def test_a_source_that_is_broken_for_a_while_does_not_end_the_watch(watch, folder):
    def broken():
        raise UnknownFormat(folder, "it is half written")

    watch.reopen = broken
    watch._attempt(watch._index_all, {str(folder)})
    assert "half written" in watch.told[-1]
    with pytest.raises(UnknownFormat):
        watch._attempt(watch._index_all, {str(folder)}, TOLD_AT_FIRST)


def test_what_indexing_writes_itself_is_no_change(tmp_path):
    changes = PendingChanges()
    handler = _Handler(changes, tmp_path / "var")
    handler.dispatch(FileClosedEvent(str(tmp_path / "var" / "catalog.sqlite")))
    handler.dispatch(FileClosedEvent(str(tmp_path / "various.png")))
    assert changes.take(10**9) == {str(tmp_path / "various.png")}


def test_the_system_tells_of_a_file_that_is_whole(watch, home, folder):
    """The one test that waits for real events: a photo is written in two parts, and indexed once."""
    stop = Event()
    thread = Thread(target=watch.run, args=(folder, stop))
    thread.start()
    try:
        content = save_photo(folder.parent / "new.png", "black").read_bytes()
        time.sleep(0.3)
        with open(folder / "new.png", "wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            time.sleep(0.3)
            file.write(content[len(content) // 2 :])
        wait_for(lambda: "new.png" in names(home))
        assert [one for one in watch.built if one[1]] == [(["new.png"], True)]
        assert not any("damaged" in line for line in watch.told)
    finally:
        stop.set()
        thread.join()


def wait_for(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
