"""Whatever is done to a collection, in whatever order: it holds what a plain model says, and nothing in it is wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import storage.maintenance
import storage.segments.merging
from indexer import build_index, open_source
from indexer.captioning import Wanted, write_captions
from storage import Home
from storage.caption_deletion import delete_captions
from storage.maintenance import compact, delete_images, roll_back
from storage.verification import verify
from tests.support.captioners import SENTENCES, ColourWriter
from tests.support.fakes import FakeEncoder, save_photo

NAMES = ("a", "b", "c", "d", "e")
COLOURS = {"red": "红", "green": "绿", "blue": "蓝"}
STEP = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(NAMES), st.sampled_from(list(COLOURS))),
    st.tuples(st.just("say"), st.sampled_from(NAMES), st.sampled_from(["", "one", "two"])),
    st.tuples(st.just("move"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("take"), st.sampled_from(NAMES)),
    st.tuples(st.just("build")),
    st.tuples(st.just("caption"), st.sampled_from(list(SENTENCES))),
    st.tuples(st.just("delete"), st.sampled_from(NAMES)),
    st.tuples(st.just("uncaption"), st.sampled_from(list(SENTENCES))),
    st.tuples(st.just("compact")),
    st.tuples(st.just("rebuild")),
    st.tuples(st.just("back"), st.integers(1, 3)),
)
FIRST = [("put", "a", "red"), ("put", "b", "green"), ("say", "b", "one"), ("put", "c", "red"), ("build",)]


class World:
    """A folder of photos, a collection of them, and what that should hold.

    Attributes:
        files: the folder, by name: a photo's colour and text.
        images: the collection, the same.
        written: the languages in which photos of each colour have written captions.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder / "photos", Home(folder / "home")
        self.files: dict[str, list[str]] = {}
        self.images: dict[str, tuple[str, str]] = {}
        self.written: dict[str, frozenset[str]] = {}
        self.versions: dict[int, tuple[dict, dict]] = {}

    def put(self, name: str, colour: str) -> None:
        self.files[name] = [colour, self.files.get(name, ["", ""])[1]]
        save_photo(self.folder / f"{name}.png", colour)

    def say(self, name: str, text: str) -> None:
        if name in self.files:
            self.files[name][1] = text
            (self.folder / f"{name}.txt").write_text(text)

    def move(self, name: str, to: str) -> None:
        if name in self.files and to not in self.files:
            self.files[to] = self.files.pop(name)
            for ending in ("png", "txt"):
                if (path := self.folder / f"{name}.{ending}").exists():
                    path.rename(self.folder / f"{to}.{ending}")

    def take(self, name: str) -> None:
        if len(self.files) > 1 and self.files.pop(name, None):
            for ending in ("png", "txt"):
                (self.folder / f"{name}.{ending}").unlink(missing_ok=True)

    def build(self, rebuild: bool = False) -> None:
        source = open_source(self.folder)
        build_index(self.home, "default", source, FakeEncoder(), workers=0, missing="drop", rebuild=rebuild)
        self.images = {name: (colour, text) for name, (colour, text) in self.files.items()}
        self.forget()

    def rebuild(self) -> None:
        self.build()  # so that names and contents are those that the collection has
        self.build(rebuild=True)

    def caption(self, language: str) -> None:
        write_captions(self.home, "default", FakeEncoder(), ColourWriter(), Wanted(language))
        self.written = {colour: languages | {language} for colour, languages in self.written.items()}

    def delete(self, name: str) -> None:
        if name in self.images:
            rows = self.home.collection("default").open_rows()
            delete_images(self.home, "default", list(rows.find([str(self.folder / f"{name}.png")]).values()))
            del self.images[name]
            self.forget()

    def uncaption(self, language: str) -> None:
        delete_captions(self.home, "default", f"origin like 'generated%' and language = '{language}'")
        self.written = {colour: languages - {language} for colour, languages in self.written.items()}

    def compact(self) -> None:
        compact(self.home, "default")
        assert self.home.collection("default").manifest.tombstones == ()
        assert compact(self.home, "default")["changed"] is False

    def back(self, steps: int) -> None:
        version = self.home.collection("default").manifest.version
        if (old := version - steps) in self.versions:
            roll_back(self.home, "default", old)
            self.images, self.written = self.versions[old]

    def forget(self) -> None:
        there = {colour for colour, _ in self.images.values()}
        self.written = {colour: self.written.get(colour, frozenset()) for colour in there}

    def check(self) -> None:
        collection = self.home.collection("default")
        assert verify(self.home, "default")["problems"] == []
        rows, manifest = collection.open_snapshot(), collection.manifest
        names = {image.image_id: Path(image.uri).stem for image in rows.images(rows.image_ids())}
        found = sorted((names[one.image_id], one.text) for one in rows.captions(rows.caption_ids()))
        assert sorted(names.values()) == sorted(self.images)
        assert found == sorted(self.expected())
        assert rows.caption_count == rows.caption_index.count == manifest.captions
        vectors = FakeEncoder().encode_texts([one.text for one in rows.captions(rows.caption_ids())]).vectors
        assert abs(rows.caption_vectors(rows.caption_ids()) - vectors).max(initial=0) < 1e-3
        assert rows.tokens(rows.image_ids()).shape[0] == manifest.images == len(self.images)
        self.versions[manifest.version] = dict(self.images), dict(self.written)

    def expected(self) -> Iterator[tuple[str, str]]:
        for name, (colour, text) in self.images.items():
            if text:
                yield name, text
            for language in self.written[colour]:
                yield name, SENTENCES[language].format(colour if language == "en" else COLOURS[colour])


@contextmanager
def small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for module in (storage.segments.merging, storage.maintenance):
            for name, value in (("SMALL", 3), ("MAX_SMALL", 3), ("FULL", 2), ("CAPTIONS_AN_IMAGE", 2)):
                patched.setattr(module, name, value, raising=False)
        yield


@settings(deadline=None, max_examples=12)
@example([("caption", "en"), ("delete", "a"), ("compact",), ("back", 2), ("delete", "b"), ("compact",)])
@example(
    [("caption", "en"), ("caption", "zh"), ("uncaption", "en"), ("compact",), ("say", "a", "two"), ("build",), ("back", 1)]
)
@example(
    [("caption", "zh"), ("move", "a", "d"), ("put", "b", "blue"), ("build",), ("rebuild",), ("compact",), ("caption", "en")]
)
@given(st.lists(STEP, max_size=10))
def test_a_collection_holds_what_a_plain_model_says(steps):
    with tempfile.TemporaryDirectory() as folder, small_segments():
        world = World(Path(folder))
        for step in [*FIRST, *steps]:
            getattr(world, step[0])(*step[1:])
            if world.home.collection_names():
                world.check()
