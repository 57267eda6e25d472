"""Photos with captions of people, for the tests beside this."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path("/photos")


@dataclass
class Said:
    language: str
    text: str


@dataclass
class Shot:
    """A photo below ROOT with captions."""

    uri: Path
    captions: list[Said]
    member: str | None = None
    metadata: dict = field(default_factory=dict)


def shot(name, *english, zh=(), **more):
    said = [Said("en", text) for text in english] + [Said("zh", text) for text in zh]
    return Shot(ROOT / name, said, **more)


PHOTOS = [
    shot("a.jpg", "a small boat on a calm lake", "someone rows a boat at dawn", zh=["湖上有一条小船"]),
    shot("b.jpg", "three goats climb a steep rock", "goats on a rock", zh=["山羊在爬山", "几只羊"]),
    shot("c.jpg", "an old clock above a red door"),
]
