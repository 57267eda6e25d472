"""The texts of photos: kept by content, published with a version, and found damaged if they are."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import Home
from storage.errors import BrokenTexts
from storage.filtering.evaluator import ids_where
from storage.maintenance import changed, compact, delete_images, roll_back
from storage.photo_texts import (
    FILE,
    FOLDER,
    PhotoText,
    PhotoTexts,
    TextLine,
    add_pending,
    pending_files,
    pending_texts,
    write_texts,
)
from storage.repair import repair
from storage.verification import verify
from tests.support.storage_examples import ENCODER, add_colours

BOX = (0.0, 0.0, 0.5, 0.0, 0.5, 0.25, 0.0, 0.25)
EXIT = TextLine("EXIT", "en", 0.75, BOX)


def content(number: int) -> str:
    return f"{number:064x}"[::-1]


def texts(folder, *read: PhotoText) -> PhotoTexts:
    add_pending(folder, read)
    return pending_texts(pending_files(folder))


@pytest.fixture
def home(tmp_path):
    """Red, green and blue are the images 1, 2 and 3."""
    home = Home(tmp_path / "home")
    with home.create_collection("walls").writer(ENCODER.fingerprint) as writer:
        add_colours(writer, "red", "green", "blue")
        writer.publish()
    return home


def contents(home) -> list[str]:
    return [image.sha256 for image in home.collection("walls").open_snapshot().images([1, 2, 3])]


def put(home, *read: PhotoText) -> int:
    """Publish what was read; the version."""
    folder = home.collection("walls").folder
    newer = texts(folder, *read)

    def publish(writer):
        return writer.put_texts(newer, PhotoTexts.open(folder, writer.manifest.texts), "text read")

    return changed(home, "walls", publish, drop_unfinished=False)["version"]


def text_of(home, number: int) -> PhotoText | None:
    return home.collection("walls").open_snapshot().texts.of(contents(home)[number - 1])


@given(st.lists(st.integers(0, 60), unique=True), st.lists(st.integers(0, 60)))
def test_every_content_finds_its_own_row(tmp_path_factory, known, wanted):
    folder = tmp_path_factory.mktemp("walls")
    read = texts(folder, *(PhotoText(content(one), [TextLine(str(one), "en", 1.0, BOX)]) for one in known))

    assert (read.rows_of([content(one) for one in wanted]) >= 0).tolist() == [one in known for one in wanted]
    for one in wanted:
        found = read.of(content(one))
        assert found == (PhotoText(content(one), [TextLine(str(one), "en", 1.0, BOX)]) if one in known else None)


def test_a_photo_without_text_counts_as_read_and_is_no_document(tmp_path):
    read = texts(tmp_path, PhotoText(content(1), []), PhotoText(content(2), [EXIT, EXIT]))

    assert read.of(content(1)) == PhotoText(content(1), [])
    positions, documents = read.documents([content(3), content(2), content(1)])
    assert positions.tolist() == [1] and documents == ["EXIT EXIT"]


def test_what_is_newer_wins_and_what_is_gone_is_left_out(tmp_path):
    older = texts(tmp_path / "older", PhotoText(content(1), []), PhotoText(content(2), [EXIT]), PhotoText(content(3), [EXIT]))
    newer = texts(tmp_path / "newer", PhotoText(content(1), [EXIT]))

    write_texts(tmp_path, "7", newer, older, [content(1), content(2)])

    now = PhotoTexts.open(tmp_path, "7")
    assert len(now) == 2 and now.of(content(1)) == PhotoText(content(1), [EXIT]) and now.of(content(3)) is None


def test_a_waiting_file_that_is_damaged_is_read_anew(tmp_path):
    for one in (1, 2):
        add_pending(tmp_path, [PhotoText(content(one), [EXIT])])
    first, _ = pending_files(tmp_path)
    first.write_bytes(b"PAR1 and no more")

    assert len(pending_texts(pending_files(tmp_path))) == 1 and not first.exists()


def test_a_version_has_its_texts_and_going_back_loses_them(home):
    red, green, _ = contents(home)
    assert put(home, PhotoText(red, [EXIT])) == 2
    assert put(home, PhotoText(green, [])) == 3

    assert text_of(home, 1) == PhotoText(red, [EXIT]) and text_of(home, 2) == PhotoText(green, []) and text_of(home, 3) is None
    roll_back(home, "walls", 2)
    assert text_of(home, 1) == PhotoText(red, [EXIT]) and text_of(home, 2) is None
    roll_back(home, "walls", 1)
    assert text_of(home, 1) is None


def test_other_changes_keep_the_texts(home):
    red = contents(home)[0]
    put(home, PhotoText(red, [EXIT]))

    delete_images(home, "walls", [2])
    compact(home, "walls", keep=0)
    with home.collection("walls").writer(ENCODER.fingerprint) as writer:
        add_colours(writer, "white")
        writer.publish()

    assert home.collection("walls").open_snapshot().texts.of(red) == PhotoText(red, [EXIT])
    assert [path.name for path in (home.collection("walls").folder / FOLDER).iterdir() if path.name != "pending"] == ["2"]
    assert verify(home, "walls")["problems"] == []


def test_a_filter_finds_what_was_read_and_what_people_wrote_apart(tmp_path):
    """Red has a caption, green a sign in it, blue both; white has neither."""
    home = Home(tmp_path / "home")
    with home.create_collection("walls").writer(ENCODER.fingerprint) as writer:
        add_colours(writer, "red", "green", "blue", "white")
        writer.publish()
    snapshot = home.collection("walls").open_snapshot()
    captioned = {one.image_id for one in snapshot.captions(snapshot.caption_ids())}
    before = snapshot.image_ids().tolist()
    assert ids_where(snapshot, "origin = 'ocr'").tolist() == [] == ids_where(snapshot, "ocr is not null").tolist()
    green, blue = (image.sha256 for image in snapshot.images([2, 3]))
    stop = TextLine("STOP here", "en", 0.5, BOX)
    put(home, PhotoText(green, [EXIT, stop]), PhotoText(blue, [EXIT]), PhotoText(content(1), [EXIT]))

    snapshot = home.collection("walls").open_snapshot()

    def found(where: str, of: Literal["images", "captions"] = "images") -> list[int]:
        return ids_where(snapshot, where, of).tolist()

    assert found("origin = 'ocr'") == found("ocr is not null") == [2, 3]
    assert found("ocr contains 'exit' and ocr like 'stop%'") == [2] and found("ocr = 'STOP here'") == [2]
    assert found("ocr is null") == [one for one in before if one not in (2, 3)]
    assert found("caption contains 'EXIT'") == [] and set(found("caption is not null")) == captioned
    assert set(found("origin is null")) == {*before} - captioned - {2, 3}
    owners = {one.caption_id: one.image_id for one in snapshot.captions(snapshot.caption_ids())}
    assert found("ocr contains 'EXIT'", "captions") == [one for one, image in owners.items() if image in (2, 3)]
    assert found("origin = 'ocr'", "captions") == [], "what was read is no caption"

    roll_back(home, "walls", 1)
    assert ids_where(home.collection("walls").open_snapshot(), "origin = 'ocr'").tolist() == []


def test_a_filter_follows_the_photo_when_others_leave(home):
    put(home, *(PhotoText(one, [TextLine(str(number), "en", 1.0, BOX)]) for number, one in enumerate(contents(home), 1)))
    delete_images(home, "walls", [1])
    snapshot = home.collection("walls").open_snapshot()
    assert [ids_where(snapshot, f"ocr = '{number}'").tolist() for number in (1, 2, 3)] == [[], [2], [3]]


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damaged_texts_are_found_and_repaired(home, damage):
    put(home, PhotoText(contents(home)[0], [EXIT]))
    path = home.collection("walls").folder / FOLDER / "2" / FILE
    whole = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(whole[:-9] if damage == "cut" else whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])

    with pytest.raises(BrokenTexts):
        home.collection("walls").open_snapshot()
    assert [problem["where"] for problem in verify(home, "walls")["problems"]] == ["texts"]
    report, lost = repair(home, "walls")
    assert not lost and "left out the texts of photos" in " ".join(report["did"])
    assert text_of(home, 1) is None and verify(home, "walls")["problems"] == []
