"""Captions of any model, read from a file in the format of COCO's caption results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encoder.inputs.chinese import HAN
from search.errors import BadCaptionsFile
from search.evaluation.captioning.photos import PhotoNames

_PHOTO_KEYS = ("image_id", "image")
_LONGEST_NAME = 100


@dataclass
class Results:
    """Written captions, by language and the position of their photo.

    Attributes:
        captions: language to position to caption.
        unknown: how many captions name a photo that isn't there, or one of several.
        first_unknown: the first such name.
        empty: how many captions are empty and say no language; their photos count as those without a caption.
    """

    captions: dict[str, dict[int, str]] = field(default_factory=dict)
    unknown: int = 0
    first_unknown: str | None = None
    empty: int = 0

    def notices(self) -> Iterator[str]:
        """Sentences about captions that can't be measured, if there are any."""
        if self.unknown:
            name = "caption names" if self.unknown == 1 else "captions name"
            yield f"{self.unknown} {name} no photo that is there, or several, such as {self.first_unknown}: not measured"
        if self.empty:
            yield f"{self.empty} {'caption is' if self.empty == 1 else 'captions are'} empty"


def read_results(path: Path, photos: PhotoNames) -> Results:
    """Read a JSON list of objects with `image_id` or `image`, and `caption`.

    A caption is in the `language` that its object says; else in Chinese if it has a Chinese character, or in English.

    Args:
        path: the file.
        photos: the photos that it may name.

    Raises:
        BadCaptionsFile: the file can't be read, an entry lacks something, a photo has two captions in a language, or no
            caption is of any of the photos.
    """
    results = Results()
    entries = _entries(path)
    for number, entry in enumerate(entries, 1):
        name, caption, told = _checked(path, number, entry)
        position = photos.find(name)
        if position is None:
            results.unknown += 1
            results.first_unknown = results.first_unknown or _shown(name)
            continue
        if not (told or caption.strip()):
            results.empty += 1
            continue
        language = _shown(told).lower().partition("-")[0] if told else "zh" if HAN.search(caption) else "en"
        captions = results.captions.setdefault(language, {})
        if position in captions:
            raise BadCaptionsFile(path, number, f"a second caption in {language} of {_shown(name)}")
        captions[position] = caption
    if not results.captions:
        problems = "; ".join(results.notices()) or "there is none"
        raise BadCaptionsFile(path, None, f"no caption in it can be measured ({problems})")
    return results


def _entries(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise BadCaptionsFile(path, None, f"can't be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise BadCaptionsFile(path, None, "is not JSON") from error
    if not isinstance(content, list):
        raise BadCaptionsFile(path, None, "is not a list")
    return content


def _checked(path: Path, number: int, entry: Any) -> tuple[str | int, str, str | None]:
    """The photo's name, the caption and its language of an entry."""
    if not isinstance(entry, dict):
        raise BadCaptionsFile(path, number, "is no object")
    name = next((entry[key] for key in _PHOTO_KEYS if key in entry), None)
    caption, language = entry.get("caption"), entry.get("language")
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise BadCaptionsFile(path, number, 'has no "image_id" or "image" that names a photo')
    if not isinstance(caption, str):
        raise BadCaptionsFile(path, number, 'has no "caption" that is a text')
    if not isinstance(language, str | None):
        raise BadCaptionsFile(path, number, 'has a "language" that is no text')
    return name, caption, language


def _shown(name: str | int) -> str:
    """A text of the file in one short line, which any terminal can print."""
    return str(name)[:_LONGEST_NAME].encode("utf-8", "backslashreplace").decode()
