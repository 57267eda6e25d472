"""The manifest: the one small file that says what a collection is at this instant."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from storage.errors import BrokenManifest
from storage.files import replace_json

FORMAT = 1
LATER = ("images", "captions", "change")


@dataclass(frozen=True)
class Manifest:
    """One published version of a collection. Version 0, which has no file, is a collection where nothing is published.

    `tombstones` are ids of images that are still in a segment and no longer in the collection; their captions went
    with them. `index` is the name of a folder under `index/`. `next_image_id` and `next_caption_id` were never used.
    `images` and `captions` count the living, `change` says in words what this version changed; manifests of before had
    neither.
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

    def save(self, path: Path) -> None:
        """Publish: after this returns, and not before, readers see this version."""
        replace_json(path, {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """The manifest at `path`, or version 0 when there is none. Raises BrokenManifest."""
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
