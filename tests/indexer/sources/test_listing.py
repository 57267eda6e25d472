"""Tests of listing a folder: what is left out, what is counted, and what belongs to a photo."""

from __future__ import annotations

import os

import pytest

from indexer import FolderSource, build_index, open_source
from indexer.errors import BadPattern, EmptySource
from indexer.report import summary_json, summary_lines
from indexer.sources.listing import FolderListing
from storage import Home
from storage.status import status, status_lines
from tests.indexer.sources.test_webdataset import write_shard
from tests.support.fakes import FakeEncoder, jpeg


def tree(root, *names, content=b"x"):
    """Write files; those with the ending of a JPEG are photos."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg() if name.lower().endswith((".jpg", ".jpeg")) else content)
    return root


def names(source):
    return [os.path.relpath(item.uri, source.root) for item in source]


def counts(source):
    return {(one["why"], one["kind"]): one["count"] for one in source.unused.as_json()}


def test_what_systems_make_for_themselves_is_left_out_and_counted(tmp_path):
    tree(tmp_path, "a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "sub/@eaDir/x.jpg", "#recycle/old.jpg",
         "$RECYCLE.BIN/y.jpg", "__MACOSX/._a.jpg", ".Trash-1000/z.jpg", "lost+found/w.jpg", ".thumbnails/t.jpg", "Thumbs.db",
         "thumbs.DB")  # fmt: skip
    source = FolderSource(tmp_path)
    assert names(source) == ["a.jpg"]
    assert counts(source) == {
        ("excluded", name): 2 if name == "@eaDir" else 1
        for name in ("@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX", ".Trash-1000", "lost+found", ".thumbnails", "Thumbs.db",
                     "thumbs.DB")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["*.jpeg"], ["a.jpg", "old/b.jpg", "sub/old/c.jpg"]),
        (["old/"], ["a.jpg", "d.jpeg"]),
        (["/old/"], ["a.jpg", "d.jpeg", "sub/old/c.jpg"]),
        (["sub/**"], ["a.jpg", "d.jpeg", "old/b.jpg"]),
        (["*", "!a.jpg"], ["a.jpg"]),
        (["[ad].*", "# no pattern", ""], ["old/b.jpg", "sub/old/c.jpg"]),
    ],
)
def test_patterns_in_gitignores_syntax(tmp_path, patterns, left):
    tree(tmp_path / "given", "a.jpg", "d.jpeg", "old/b.jpg", "sub/old/c.jpg")
    given = open_source(tmp_path / "given", exclude=patterns)
    (tmp_path / "given" / ".panoptesignore").write_text("\n".join(patterns))
    written = open_source(tmp_path / "given")
    assert names(given) == names(written) == left
    assert sum(one["count"] for one in given.unused.as_json()) > 0 and counts(given) == counts(written)
    assert given.options["exclude"] == patterns and "exclude" not in written.options


def test_an_ignore_file_counts_in_its_own_folder(tmp_path):
    tree(tmp_path, "a.jpg", "sub/a.jpg", "sub/b.jpg")
    (tmp_path / "sub" / ".panoptesignore").write_text("!\n/a.jpg\n")
    source = FolderSource(tmp_path)
    assert names(source) == ["a.jpg", "sub/b.jpg"]
    (problem,) = source.problems
    assert problem.reason == "bad_pattern" and "! is no pattern" in problem.sentence


def test_a_pattern_that_is_none_is_named(tmp_path):
    with pytest.raises(BadPattern, match="'!' is no pattern"):
        open_source(tree(tmp_path, "a.jpg"), exclude=["*.x", "!"])


@pytest.mark.parametrize("kind", ["manifest", "webdataset"])
def test_patterns_count_in_every_kind_of_source(tmp_path, kind):
    if kind == "manifest":
        tree(tmp_path, "old/a.jpg", "b.jpg")
        (tmp_path / "manifest.jsonl").write_text('{"image": "old/a.jpg"}\n{"image": "b.jpg"}')
    else:
        write_shard(tmp_path / "0.tar", ("old/a.jpg", jpeg()), ("b.jpg", jpeg()))
    source = open_source(tmp_path, exclude=["old/"])
    assert (source.format, [(item.member or item.uri.name) for item in source]) == (kind, ["b.jpg"])
    assert counts(source) == {("excluded", "old/"): 1}


def test_a_photo_that_is_excluded_now_leaves_the_collection_and_comes_back(tmp_path):
    home, photos = Home(tmp_path / "home"), tree(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg")
    build_index(home, "default", open_source(photos), FakeEncoder(), workers=0)
    summary = build_index(home, "default", open_source(photos, exclude=["b.*"]), FakeEncoder(), workers=0)
    assert (summary.images, summary.removed) == (2, 1)
    assert home.catalog.sources("default")[str(photos)]["exclude"] == ["b.*"]
    assert build_index(home, "default", open_source(photos), FakeEncoder(), workers=0).images == 3


def test_the_files_of_one_photo_are_one_photo(tmp_path):
    tree(tmp_path, "1.HEIC", "1.MOV", "2.CR2", "2.JPG", "2.xmp", "2.CR2.xmp", "3.jpg", "3.png", "4.MOV", "5.jpg", "5.jpg.json",
         "5.supplemental-metadata.json", "albums.json")  # fmt: skip
    (tmp_path / "2.CR2.txt").write_text("a dog")
    source = FolderSource(tmp_path)
    assert names(source) == ["1.HEIC", "2.JPG", "3.jpg", "3.png", "5.jpg"]
    assert [[caption.text for caption in item.captions] for item in source] == [[], ["a dog"], [], [], []]
    source = open_source(tmp_path)
    assert counts(source) == {
        ("pair", "MOV"): 1,
        ("pair", "CR2"): 1,
        ("sidecar", "XMP"): 2,
        ("sidecar", "JSON"): 2,
        ("other_kind", "MOV"): 1,
        ("other_kind", "JSON"): 1,
    }


def test_every_photo_comes_with_its_sidecars(tmp_path):
    tree(tmp_path, "1.jpg", "1.xmp", "1.jpg.XMP", "1.jpg.json", "2.JPG", "2.CR2", "2.cr2.xmp", "2.jpg.supplemental-metada.json",
         "sub/1.aae", "other.json", "11.xmp")  # fmt: skip
    found = {os.path.basename(one.path): [os.path.basename(own) for own in one.sidecars] for one in FolderListing(tmp_path)}
    assert found == {
        "1.jpg": ["1.jpg.XMP", "1.jpg.json", "1.xmp"],
        "2.JPG": ["2.jpg.supplemental-metada.json", "2.cr2.xmp"],
    }
    assert counts(open_source(tmp_path))["sidecar", "XMP"] == 4


def test_a_folder_of_other_files_only_says_what_it_holds(tmp_path):
    with pytest.raises(EmptySource, match=r"holds no photo \(but MOV 2, hidden 1\)"):
        open_source(tree(tmp_path, "a.mov", "b.MOV", ".x"))


def test_kinds_are_counted_in_little_memory(tmp_path):
    tree(tmp_path, "a.jpg", *(f"x.{number}" for number in range(100)), "y.tar.gz", "no ending", "odd.e n d")
    listed = open_source(tmp_path).unused.as_json()
    assert len(listed) < 50 and sum(one["count"] for one in listed) == 103


def test_a_listing_keeps_the_order_of_numbers_through_folders(tmp_path):
    wanted = ["1.jpg", "2/3.jpg", "2/10.jpg", "3.jpg", "10/1.jpg", "a/x.jpg", "a.jpg", "b.jpg"]
    tree(tmp_path, *reversed(wanted))
    assert [os.path.relpath(file.path, tmp_path) for file in FolderListing(tmp_path)] == wanted


# What a run says of it


def test_every_run_says_what_was_not_used(tmp_path):
    home = Home(tmp_path / "home")
    photos = tree(tmp_path / "photos", "a.jpg", "b.mov", "c.mov", "d.pdf", "notes.txt", "@eaDir/a.jpg", "sub/e.jpg")
    (photos / "sub" / "said.csv").write_text("image,caption\nelsewhere.jpg,a dog\n")
    summary = build_index(home, "default", open_source(photos), FakeEncoder(), workers=0)
    lines = list(summary_lines(summary, "default"))
    assert lines[1:] == [
        f"  3 files of other kinds were not used: MOV 2, PDF 1; {photos}/b.mov is one",
        f"  1 texts belong to no photo: TXT 1; {photos}/notes.txt is one",
        f"  1 files or folders were excluded: @eaDir 1; {photos}/@eaDir is one",
        f"  sub/said.csv looks like captions and was not read: --captions {photos}/sub/said.csv",
    ]
    unused = summary_json(summary)["unused"]
    assert unused[0] == {"why": "captions_not_read", "kind": "sub/said.csv", "count": 1, "example": f"{photos}/sub/said.csv"}
    report = status(home, "default")
    assert report["unused"] == [{"source": str(photos), **one} for one in unused]
    shown = list(status_lines(report | {"searchable": True, "model_in_use": ""}))
    assert [f"{line} ({photos})" for line in lines[1:]] == shown[-4:]
    (photos / "b.mov").unlink()
    build_index(home, "default", open_source(photos), FakeEncoder(), workers=0)
    assert {one["kind"]: one["count"] for one in status(home, "default")["unused"]}["MOV"] == 1


def test_captions_that_nobody_reads_are_named_in_every_kind_of_source(tmp_path):
    tree(tmp_path, "val2017/1.jpg")
    (tmp_path / "annotations").mkdir()
    coco = '{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "caption": "a dog"}]}'
    for name in ("annotations/captions_val2017.json", "said.json", "deep/more.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(coco)
    (tmp_path / "captions.csv").write_text("image,caption\n1.jpg,a cat\n")
    assert counts(open_source(tmp_path)) == {
        ("captions_not_read", name): 1 for name in ("said.json", "deep/more.json", "captions.csv")
    }
    given = open_source(tmp_path, captions=[tmp_path / "captions.csv"])
    assert [caption.text for item in given for caption in item.captions] == ["a dog", "a cat"]
    assert ("captions_not_read", "captions.csv") not in counts(given)
    assert counts(open_source(tmp_path, "folder")) == {
        ("captions_not_read", name): 1 for name in ("deep/more.json", "annotations/captions_val2017.json")
    }


def test_a_catalog_of_before_is_read_as_it_is(tmp_path):
    home = Home(tmp_path / "home")
    build_index(home, "default", open_source(tree(tmp_path / "photos", "a.jpg")), FakeEncoder(), workers=0)
    told = {"format": None, "captions": [], "languages": [], "limit": None, "keep_missing": True}
    home.catalog.start_run("default", "/old", 1, told)
    assert status(home, "default")["unused"] == []
