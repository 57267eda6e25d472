"""EXIF to columns."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from indexer.metadata import values

_MAKE, _MODEL, _TIME, _ARTIST, _DESCRIPTION = 0x010F, 0x0110, 0x0132, 0x013B, 0x010E
_RATING, _EXIF, _GPS = 0x4746, 0x8769, 0x8825
_WINDOWS = {0x9C9B: "title", 0x9C9C: "description", 0x9C9D: "creator", 0x9C9E: "tags"}
_TIMES = ((0x9003, 0x9011), (0x9004, 0x9012))
_OFFSET = 0x9010
_NAMED_XMP, _NAMED_IPTC = 0x02BC, 0x83BB


def columns_of(content: bytes) -> dict[str, Any]:
    """The columns in EXIF that begins with TIFF's header. Never raises: what is broken is left out."""
    exif = _loaded(content)
    return _columns(_tags(exif), _tags(exif, _EXIF), _tags(exif, _GPS))


def columns_of_directories(main: bytes, own: bytes, gps: bytes) -> dict[str, Any]:
    """The columns in the main directory, EXIF's own and that of the place, each the first of a TIFF. Never raises."""
    return _columns(*(_tags(_loaded(content)) for content in (main, own, gps)))


def _loaded(content: bytes) -> Any:
    from PIL import Image

    exif = Image.Exif()
    with suppress(Exception):  # Pillow fails in any way on what is broken
        exif.load(b"Exif\0\0" + content)
    return exif


def columns_of_tiff(file: BinaryIO) -> tuple[dict[str, Any], bytes, bytes]:
    """The columns in a TIFF's own tags, and the XMP and IPTC among them (b"" where there is none). Never raises."""
    from PIL import Image

    exif = Image.Exif()
    with suppress(Exception):
        file.seek(0)
        exif.load_from_fp(file)
    main = _tags(exif)
    columns = _columns(main, _tags(exif, _EXIF), _tags(exif, _GPS))
    return columns, _bytes(main.get(_NAMED_XMP)), _bytes(main.get(_NAMED_IPTC))


def _columns(main: Mapping[int, Any], own: Mapping[int, Any], gps: Mapping[int, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "taken": _taken(main, own),
        "camera": values.camera(main.get(_MAKE), main.get(_MODEL)),
        "lens": _lens(own),
        **_place(gps),
        "altitude": _altitude(gps),
        "iso": _iso(own),
        "aperture": _aperture(own),
        "exposure": values.number(own.get(0x829A), 1e-7, 1e6),
        "focal_length": values.number(own.get(0x920A), 0.1, 1e5, digits=2),
        "description": values.description(_as_text(main.get(_DESCRIPTION))),
        "creator": values.text(_as_text(main.get(_ARTIST))),
        "rating": values.rating(main.get(_RATING)),
    }
    for tag, name in _WINDOWS.items():
        written = _windows_text(main.get(tag))
        found[name] = (values.tags(written.split(";")) if name == "tags" else values.text(written)) or found.get(name)
    return {name: value for name, value in found.items() if value not in (None, [], "")}


def _tags(exif: Any, directory: int | None = None) -> dict[int, Any]:
    """The tags of a directory; those that can't be read are left out."""
    found: dict[int, Any] = {}
    with suppress(Exception):
        tags: Mapping[int, Any] = exif if directory is None else exif.get_ifd(directory)
        for tag in list(tags):
            with suppress(Exception):
                found[tag] = tags[tag]
    return found


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else bytes(value) if isinstance(value, tuple) and _are_bytes(value) else b""


def _are_bytes(numbers: tuple) -> bool:
    return all(isinstance(one, int) and 0 <= one < 256 for one in numbers)


def _as_text(value: object) -> object:
    """A text that Pillow has taken for Latin-1, and that is UTF-8 where it can be."""
    if not isinstance(value, str):
        return value
    with suppress(UnicodeEncodeError):
        return value.encode("latin-1")
    return value


def _windows_text(value: object) -> str:
    """What Windows writes as UTF-16."""
    if isinstance(value, tuple) and _are_bytes(value):
        value = bytes(value)
    return value.decode("utf-16-le", "ignore").split("\0")[0] if isinstance(value, bytes) else ""


def _taken(main: Mapping[int, Any], own: Mapping[int, Any]) -> str | None:
    times = [(own.get(tag), own.get(offset)) for tag, offset in _TIMES] + [(main.get(_TIME), own.get(_OFFSET))]
    return next((found for found in (values.time(*one) for one in times) if found), None)


def _lens(own: Mapping[int, Any]) -> str | None:
    name = values.text(_as_text(own.get(0xA434)))
    return None if name is None or not name.strip("- .0/") else name


def _iso(own: Mapping[int, Any]) -> int | None:
    """The sensitivity; where it doesn't fit into its tag, that tag has 65,535, and others have the number."""
    tags = (0x8827, 0x8832, 0x8833)
    found = [values.whole(own.get(tag), 1, 10_000_000) for tag in tags]
    return next((one for one in found if one and one != 65_535), None)


def _aperture(own: Mapping[int, Any]) -> float | None:
    direct = values.number(own.get(0x829D), 0.1, 1000, digits=2)
    apex = values.number(own.get(0x9202), -2, 20)
    return direct if direct or apex is None else round(2 ** (apex / 2), 2)


def _place(gps: Mapping[int, Any]) -> dict[str, float]:
    return values.place(_degrees(gps.get(2), gps.get(1), "NS"), _degrees(gps.get(4), gps.get(3), "EW"))


def _degrees(value: object, side: object, sides: str) -> float | None:
    """Degrees, minutes and seconds in degrees; None if it isn't known on which side of 0 they are."""
    where = (values.text(side) or "")[:1].upper()
    if not isinstance(value, tuple) or not 1 <= len(value) <= 3 or not where or where not in sides:
        return None
    parts = [values.number(part, 0, 360, digits=9) for part in value]
    if parts[0] is None or any(part is None or part > 60 for part in parts[1:]):
        return None
    total = sum(part / 60**power for power, part in enumerate(part or 0.0 for part in parts))
    return -total if where == sides[1] else total


def _altitude(gps: Mapping[int, Any]) -> float | None:
    height = values.number(gps.get(6), 0, 100_000, digits=2)
    below = gps.get(5) in (1, b"\1", (1,))
    return None if height is None else -height if below and height else height
