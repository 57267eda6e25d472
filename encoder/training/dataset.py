"""Captioned photos for training, read from manifests (JSON Lines)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from encoder.errors import BadTrainingData


@dataclass(frozen=True)
class Photo:
    """A photo with its captions.

    Attributes:
        path: the image file.
        english: captions in English.
        chinese: captions in Chinese, written by people.
        translated: captions in Chinese, translated from `english` by machines.
    """

    path: Path
    english: tuple[str, ...]
    chinese: tuple[str, ...]
    translated: tuple[str, ...]

    @property
    def captions(self) -> tuple[str, ...]:
        """All captions: `english`, `chinese`, `translated`."""
        return self.english + self.chinese + self.translated


def read_photos(manifest: Path) -> list[Photo]:
    """Read the photos of a manifest, in its order.

    Raises:
        BadTrainingData: the manifest can't be read or is empty, or a line of it can't be used.
    """
    if not manifest.is_file():
        raise BadTrainingData(f"{manifest} does not exist; give a JSON Lines manifest of captioned photos.")
    try:
        lines = manifest.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise BadTrainingData(f"{manifest} cannot be read as UTF-8 ({error}).") from error
    photos = [_photo(line, number, manifest) for number, line in enumerate(lines, 1) if line.strip()]
    if not photos:
        raise BadTrainingData(f"{manifest} holds no photos; a line is an object with `image` and `captions`.")
    return photos


def _photo(line: str, number: int, manifest: Path) -> Photo:
    try:
        row = json.loads(line)
        captions = row["captions"]
        machines = row.get("machine_translated", {}).get("zh", {}).values()
        return Photo(
            path=(manifest.parent / row["image"]).absolute(),
            english=_clean(captions.get("en", ())),
            chinese=_clean(captions.get("zh", ())),
            translated=_clean(text for texts in machines for text in texts),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadTrainingData(f"{manifest}, line {number}: not an object with `image` and `captions` ({error}).") from error


def _clean(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(text.strip() for text in texts if text.strip())


def key_of(photos: list[Photo], *parts: str) -> str:
    """Make a name of 16 hex digits for a cache that depends on these photos and on `parts`."""
    digest = hashlib.sha256("\n".join([*parts, *(str(photo.path) for photo in photos)]).encode())
    return digest.hexdigest()[:16]
