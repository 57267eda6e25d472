"""The manifest: the one small file that says what is published in a collection."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from storage.errors import BrokenManifest
from storage.files import replace_json

FORMAT = 1
LATER = ("images", "captions", "change", "texts")
"""Fields that the manifests of older programs lack."""


@dataclass(frozen=True)
class Manifest:
    """One published version of a collection.

    Attributes:
        version: The number; 0, which has no file, means that nothing is published.
        fingerprint: The fingerprint of the encoder that made the vectors and tokens.
        dim: D, the width of every vector.
        token_shape: (L, H), the shape of one image's tokens.
        segments: Names of folders under `segments/`.
        tombstones: Ids of images that are deleted and still in a segment; their captions are deleted too.
        index: The name of a folder under `index/`.
        next_image_id: An id that no image ever had; nor has any higher one.
        next_caption_id: The same for captions.
        published_at: ISO 8601, in UTC.
        images: The number of living images; 0 in old manifests.
        captions: The number of their captions; 0 in old manifests.
        change: What this version changed, in words; empty in old manifests.
        texts: The name of a folder under `ocr/` with the texts that were read in photos; empty if none were.
    """

    version: int = 0
    fingerprint: str = ""
    dim: int = 0
    token_shape: tuple[int, int] = (0, 0)
    segments: tuple[str, ...] = ()
    tombstones: tuple[int, ...] = ()
    index: str = ""
    next_image_id: int = 1
    next_caption_id: int = 1
    published_at: str = ""
    images: int = 0
    captions: int = 0
    change: str = ""
    texts: str = ""

    def save(self, path: Path) -> None:
        """Publish this version: readers see it when this has returned."""
        replace_json(path, {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read the manifest at `path`; version 0 if there is no file.

        Raises:
            BrokenManifest: The file can't be read, or is no manifest.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError) as error:
            raise BrokenManifest(path, f"not readable as JSON: {error}") from error
        return cls._from_json(content, path)

    @classmethod
    def _from_json(cls, content: object, path: Path) -> Manifest:
        if not isinstance(content, dict):
            raise BrokenManifest(path, "not a JSON object")
        if content.get("format") != FORMAT:
            raise BrokenManifest(path, f"format {content.get('format')!r}, this program reads {FORMAT}")
        values = {}
        for field in fields(cls):
            default = field.default
            value = content.get(field.name, default if field.name in LATER else None)
            kind = list if isinstance(default, tuple) else type(default)
            if type(value) is not kind:
                raise BrokenManifest(path, f"{field.name!r} is missing or of the wrong type")
            values[field.name] = tuple(value) if kind is list else value
        return cls(**values)
