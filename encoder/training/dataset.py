"""Captioned photos for training, read from manifests (JSON Lines)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from encoder.errors import BadTrainingData


@dataclass(frozen=True)
class Photo:
    """One photo with its captions; `chinese` was written by people, `translated` by machines from `english`."""

    path: Path
    english: tuple[str, ...]
    chinese: tuple[str, ...]
    translated: tuple[str, ...]

    @property
    def captions(self) -> tuple[str, ...]:
        """All captions: English, Chinese by people, Chinese by machines."""
        return self.english + self.chinese + self.translated


def read_photos(manifest: Path) -> list[Photo]:
    """Photos of a manifest in its order; raises BadTrainingData naming the line that cannot be used."""
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


def _clean(texts) -> tuple[str, ...]:
    return tuple(text.strip() for text in texts if text.strip())


def key_of(photos: list[Photo], *parts: str) -> str:
    """A short name for a cache that depends on these photos and whatever else `parts` says."""
    digest = hashlib.sha256("\n".join([*parts, *(str(photo.path) for photo in photos)]).encode())
    return digest.hexdigest()[:16]
