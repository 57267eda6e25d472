"""Filters against what they mean, row by row, on a collection whose metadata is as mixed as real ones are."""

from __future__ import annotations

import fnmatch
import gc
import os
import re
import weakref
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search import Engine, Query
from search.retrieval.lexical import words_of
from storage import CaptionRecord, Home, ImageRecord, SegmentData
from storage.errors import BadFilter
from storage.filtering.columns import columns_of
from storage.filtering.evaluator import ids_where
from tests.support.fakes import FakeEncoder, jpeg
from tests.support.galleries import Shot, build_gallery

ALBUMS = ["summer", "Winter", "夏天", "it's 50 %", ""]
TAKEN = ["2024-05-01", "2024-05-01T12:30:00", "2024:06:02 08:00:00", "2023-12-31T23:59:59Z", "no date"]


def metadata(number: int) -> dict:
    """Something of everything: missing and null keys, lists, nested objects, columns of several kinds."""
    choices = {
        "album": ALBUMS[number % 5],
        "stars": [1, 2.5, 3, None][number % 4],
        "tags": [["dog", "beach"], [], ["Dog"], ["cat", 7]][number % 4],
        "taken": TAKEN[number % 5],
        "exif": {"iso": 100 * (number % 7), "flash": number % 2 == 0},
        "mixed": [number, str(number), True][number % 3],
        "width": "as the source says",
        "odd name": number,
        "never": None,
    }
    return {key: value for i, (key, value) in enumerate(choices.items()) if (number + i) % 6}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """60 images in three segments, six of them deleted."""
    encoder, rng = FakeEncoder(), np.random.default_rng(0)
    collection = Home(tmp_path_factory.mktemp("home")).create_collection("default")
    for _ in range(3):
        with collection.writer(encoder.fingerprint) as writer:
            ids = [writer.new_image_id() for _ in range(20)]
            images = [
                ImageRecord(
                    i,
                    f"/photos/{'ab'[i % 2]}/{i}.jpg",
                    f"{i:064x}",
                    int(rng.integers(1, 9)) * 100,
                    400,
                    1000 * i,
                    "/photos",
                    metadata(i),
                )
                for i in ids
            ]
            captions = [
                CaptionRecord(writer.new_caption_id(), i, lang, f"{lang} {'dog' if n else 'cat'} {i}", "test")
                for i in ids
                for n, lang in enumerate(["en", "zh", "en"][: i % 4])
            ]
            pixels = rng.integers(0, 256, (20, 1, 1, 3), np.uint8).repeat(32, 1).repeat(32, 2)
            encoded = encoder.encode_images(pixels)
            vectors = encoder.encode_texts([caption.text for caption in captions]).vectors
            writer.add_segment(SegmentData(images, encoded.vectors, encoded.tokens, [jpeg()] * 20, captions, vectors))
            for dead in ids[:2]:
                writer.tombstone(dead)
            writer.publish()
    return collection


@pytest.fixture(scope="module")
def snapshot(collection):
    return collection.open_snapshot()


def row_of(image: ImageRecord, captions: list[CaptionRecord]) -> dict[str, list]:
    """Every column of one row, as the list of its values."""
    row = {
        "width": [image.width],
        "height": [image.height],
        "bytes": [image.bytes],
        "uri": [image.uri],
        "folder": [os.path.dirname(image.uri)],
        "name": [os.path.basename(image.uri)],
        "language": [c.language for c in captions],
        "caption": [c.text for c in captions],
    }
    for key in ("album", "stars", "tags", "taken", "mixed", "odd name", "never"):
        value = image.metadata.get(key)
        row[key] = value if isinstance(value, list) else [] if value is None else [value]
    for key in ("iso", "flash"):
        row[f"exif.{key}"] = [image.metadata["exif"][key]] if "exif" in image.metadata else []
    row["metadata.width"] = [image.metadata["width"]] if "width" in image.metadata else []
    return row


OPERATORS = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
NUMBERS = ["width", "height", "bytes", "stars", "exif.iso", "mixed", "`odd name`"]
TEXTS = ["album", "tags", "mixed", "language", "caption", "name", "folder", "metadata.width"]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def holds(kind: type | tuple[type, ...], test):
    """A rule: some value of that kind in the column passes the test."""

    def rule(column):
        def says(row):
            values = row[column.strip("`")]
            return any(test(v) for v in values if isinstance(v, kind) and (kind is bool or not isinstance(v, bool)))

        return says

    return rule


@st.composite
def numeric(draw):
    column, operator = draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(list(OPERATORS)))
    number = draw(st.sampled_from([0, 2.5, 3, 7, 100, 400, 500, 30_000]) | st.integers(-5, 900))
    return f"{column} {operator} {number}", holds((int, float), lambda v: OPERATORS[operator](v, number))(column)


@st.composite
def textual(draw):
    column, text = draw(st.sampled_from(TEXTS)), draw(st.sampled_from([*ALBUMS, "dog", "en", "9", "/photos/a", "en dog 3"]))
    operator = draw(st.sampled_from([*OPERATORS, "like", "contains"]))
    if operator == "like":
        pattern = re.compile(fnmatch.translate(f"*{text}*"), re.I | re.S)
        return f"{column} like {quoted(f'%{text}%')}", holds(str, pattern.match)(column)
    if operator == "contains":
        return f"{column} contains {quoted(text)}", holds(str, lambda v: text.lower() in v.lower())(column)
    # Texts are ordered by their UTF-8 bytes, which is the order of their code points.
    return f"{column} {operator} {quoted(text)}", holds(str, lambda v: OPERATORS[operator](v, text))(column)


def when(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(re.sub(r"^(\d{4}):(\d\d):", r"\1-\2-", text)).replace(tzinfo=None)
    except ValueError:
        return None


@st.composite
def dated(draw):
    written, start, end = draw(
        st.sampled_from(
            [
                ("2024", datetime(2024, 1, 1), datetime(2025, 1, 1)),
                ("2024-05", datetime(2024, 5, 1), datetime(2024, 6, 1)),
                ("2024-05-01", datetime(2024, 5, 1), datetime(2024, 5, 2)),
                ("2023-12-31 23:59", datetime(2023, 12, 31, 23, 59), datetime(2024, 1, 1)),
            ]
        )
    )
    operator = draw(st.sampled_from(list(OPERATORS)))
    tests = {
        "=": lambda t: start <= t < end,
        "<": lambda t: t < start,
        "<=": lambda t: t < end,
        ">": lambda t: t >= end,
        ">=": lambda t: t >= start,
    }
    return f"taken {operator} {written}", holds(str, lambda v: when(v) is not None and tests[operator](when(v)))("taken")


OTHERS = st.sampled_from(
    [
        ("tags in ('dog', 'cat')", holds(str, lambda v: v in ("dog", "cat"))("tags")),
        ("stars not in (1, 3)", lambda row: not any(v in (1, 3) for v in row["stars"])),
        ("exif.flash = true", holds(bool, lambda v: v)("exif.flash")),
        ("exif.flash != true", lambda row: True not in row["exif.flash"]),
        ("album is null", lambda row: not row["album"]),
        ("tags is not null", lambda row: bool(row["tags"])),
        ("never is null", lambda row: True),
        ("never = 3", lambda row: False),
        ("width > height", lambda row: row["width"][0] > row["height"][0]),
        (
            "exif.iso <= `odd name`",
            lambda row: bool(row["exif.iso"] and row["odd name"] and row["exif.iso"] <= row["odd name"]),
        ),
    ]
)
CONDITIONS = st.recursive(
    numeric() | textual() | dated() | OTHERS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: (f"({p[0][0]} and {p[1][0]})", lambda row: p[0][1](row) and p[1][1](row))),
        st.tuples(inner, inner).map(lambda p: (f"({p[0][0]} or {p[1][0]})", lambda row: p[0][1](row) or p[1][1](row))),
        inner.map(lambda p: (f"not ({p[0]})", lambda row: not p[1](row))),
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(condition=CONDITIONS)
def test_a_filter_finds_the_rows_that_it_describes(snapshot, condition):
    text, rule = condition
    captions = snapshot.captions_of(snapshot.image_ids())
    expected = [i.image_id for i in snapshot.images(snapshot.image_ids()) if rule(row_of(i, captions[i.image_id]))]

    assert ids_where(snapshot, text).tolist() == expected, text


@settings(max_examples=150)
@given(condition=CONDITIONS)
def test_a_caption_has_its_own_language_and_text_and_its_photos_columns(snapshot, condition):
    text, rule = condition
    images = {image.image_id: image for image in snapshot.images(snapshot.image_ids())}
    expected = [c.caption_id for c in snapshot.captions(snapshot.caption_ids()) if rule(row_of(images[c.image_id], [c]))]

    assert ids_where(snapshot, text, "captions").tolist() == expected, text


@settings(max_examples=60, deadline=None)
@given(share=st.sampled_from([0.0, 0.02, 0.1, 0.5, 0.9, 1.0]) | st.floats(0, 1), text=st.text("abcdef", min_size=1, max_size=4))
def test_search_is_right_at_every_selectivity(collection, snapshot, share, text):
    encoder, limit = FakeEncoder(), int(60_000 * share)
    allowed = np.array([i.image_id for i in snapshot.images(snapshot.image_ids()) if i.bytes <= limit], np.int64)
    scores = snapshot.image_vectors(allowed) @ encoder.encode_texts([text]).vectors[0]

    result = Engine(collection, encoder).search(Query(text=text, where=f"bytes <= {limit}", top=7, rerank=0))

    assert result.total == len(allowed) and {hit.id for hit in result.hits} <= set(allowed.tolist())
    assert [hit.score for hit in result.hits] == pytest.approx(sorted(scores.tolist(), reverse=True)[:7], abs=1e-3)


@pytest.mark.parametrize(
    ("text", "at", "problem"),
    [
        ("width > 3 and heigth > 4", 14, "no column is called heigth: did you mean height? there are album, bytes, caption,"),
        ("album > 3", 8, "album holds text, which can't be compared with numbers"),
        ("width = 'wide'", 8, "width holds numbers, which can't be compared with text"),
        ("width = 2024-05", 8, "width holds numbers, which can't be compared with dates"),
        ("width like '6%'", 0, "width holds numbers, which can't be compared with text"),
        ("exif.flash > true", 13, "true and false are compared with = or != only"),
        ("album = true", 8, "album holds text, which can't be compared with true or false"),
        ("width > album", 8, "width and album hold nothing of one kind"),
        ("album = tags", 8, "tags holds several values a row"),
    ],
)
def test_an_error_names_the_position_and_the_columns_that_exist(snapshot, text, at, problem):
    with pytest.raises(BadFilter) as raised:
        ids_where(snapshot, text)
    assert raised.value.at == at and problem in str(raised.value) and "\n" not in str(raised.value)


def test_every_column_that_is_listed_can_be_filtered_by(snapshot):
    for of in ("images", "captions"):
        names = columns_of(snapshot, of).names()
        assert {"id", "width", "language", "album", "exif.iso", "metadata.width", "odd name"} <= set(names)
        for name in names:
            ids_where(snapshot, f"`{name}` is null", of)


def test_columns_are_read_once_a_version(snapshot):
    assert columns_of(snapshot, "images") is columns_of(snapshot, "images")
    assert columns_of(snapshot, "images") is not columns_of(snapshot, "captions")


def test_the_columns_of_a_snapshot_are_freed_with_it(collection):
    opened = collection.open_snapshot()
    gone = weakref.ref(opened)
    for of in ("images", "captions"):
        ids_where(opened, "album = 'summer' or language = 'en'", of)
    words_of(opened)

    del opened
    gc.collect()

    assert gone() is None


def test_the_deepest_filter_that_fits_is_evaluated(snapshot):
    nested = "not(id=1 or " * 153 + "id=1" + ")" * 153
    assert len(ids_where(snapshot, nested)) in range(snapshot.image_count + 1)


def test_a_collection_without_captions_can_be_filtered(tmp_path):
    snapshot = build_gallery(tmp_path, [Shot("a.jpg", "red")]).open_snapshot()
    assert ids_where(snapshot, "language is null").tolist() == snapshot.image_ids().tolist()
    assert ids_where(snapshot, "name = 'a.jpg'", "captions").tolist() == []
