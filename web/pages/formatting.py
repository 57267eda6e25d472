"""Formats parts of a search result's JSON for the templates: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from storage import CaptionRecord

WITHOUT_PHOTO = ".npz"
NARROWEST, WIDEST = 0.5, 3.2
LONGEST_VALUE = 300
_T = TypeVar("_T")


def tile_ratio(width: int, height: int) -> float:
    """Width over height of a photo's tile: the photo's own, clipped so that a row can hold it."""
    return round(min(max(width / max(height, 1), NARROWEST), WIDEST), 4)


def name_without_photo(uri: str) -> str | None:
    """The name of an image of which there are only a detector's features; None if there is a photo."""
    path = PurePath(uri)
    return path.stem if path.suffix.lower() == WITHOUT_PHOTO else None


def file_name(uri: str) -> str:
    """The name of a photo's file; of one in a Parquet file, that file and the row."""
    file, mark, row = uri.partition("!") if uri.startswith("parquet://") else (uri, "", "")
    return file.rsplit("/", 1)[-1] + mark + row


def split_captions(captions: Sequence[dict], language: str) -> tuple[list[dict], list[dict]]:
    """The first caption of each language, that of the interface first; and all other captions."""
    first: dict[str, dict] = {}
    for caption in captions:
        first.setdefault(caption["language"], caption)
    shown = sorted(first.values(), key=lambda caption: caption["language"] != language)
    shown_ids = {caption["id"] for caption in shown}
    return shown, [caption for caption in captions if caption["id"] not in shown_ids]


def stage_times(took_ms: dict[str, float]) -> list[tuple[str, str]]:
    """(stage, milliseconds) for each stage that took any time."""
    return [(stage, short_ms(ms)) for stage, ms in took_ms.items() if stage != "total" and ms > 0.05]


def short_ms(ms: float) -> str:
    """ "0.4", "3", "84": a digit after the point only where it is all there is."""
    return f"{ms:.1f}" if ms < 0.95 else f"{ms:.0f}"


def pages_around(offset: int, top: int, total: int) -> tuple[int | None, int | None]:
    """The offsets of the page before and of the page after; None if there is none."""
    before = max(0, min(offset, total) - top) if offset > 0 else None
    after = offset + top if offset + top < total else None
    return before, after


def evenly(values: Sequence[_T], most: int) -> list[_T]:
    """At most `most` of the values, spread evenly."""
    if len(values) <= most:
        return list(values)
    return [values[i * len(values) // most] for i in range(most)]


def captions_by_language(captions: Sequence[CaptionRecord], language: str) -> list[tuple[str, list[CaptionRecord]]]:
    """A photo's captions by language, that of the interface first, without texts that repeat."""
    found: dict[str, dict[str, CaptionRecord]] = {}
    for caption in captions:
        found.setdefault(caption.language, {}).setdefault(caption.text, caption)
    return [(code, list(found[code].values())) for code in sorted(found, key=lambda code: (code != language, code))]


def flat(metadata: Mapping, prefix: str = "") -> list[tuple[str, str]]:
    """Nested metadata as (path, text), such as ("exif.iso", "100"), in its own order. Lists get commas; long texts are cut."""
    lines: list[tuple[str, str]] = []
    for name, value in metadata.items():
        if isinstance(value, Mapping):
            lines += flat(value, f"{prefix}{name}.")
        elif value is not None:
            parts = value if isinstance(value, list) else [value]
            text = ", ".join(str(part) for part in parts)
            lines.append((f"{prefix}{name}", text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"))
    return lines


def size_in_words(count: int) -> str:
    """ "840 B", "12 kB", "3.4 MB"; a kB is 1000 bytes."""
    if count < 1000:
        return f"{count} B"
    if count < 10**6:
        return f"{count / 1000:.0f} kB"
    return f"{count / 10**6:.1f} MB"
