"""Brings single values of metadata to the form of columns; what is no sensible value becomes None."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

_DATE = re.compile(
    r"(\d{4})(?:[:\-./](\d\d?)(?:[:\-./](\d\d?)(?:[ T]+(\d\d?):(\d\d)(?::(\d\d))?(?:[.,]\d+)?\s*(Z|[+\-]\d\d:?\d\d)?)?)?)?\s*$"
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters that control something, and halves of characters."""
_OFFSET = re.compile(r"([+\-])(\d\d):?(\d\d)$")
_MAKERS = re.compile(r"[ ,]+(corporation|corp|imaging|company|co|ltd|inc|optical|ag|camera|gmbh)\b\.?", re.IGNORECASE)
_OF_CAMERAS = re.compile(r"(olympus|sony|minolta|samsung|konica|pentax)?\s*(digital camera|dsc|camera)?$", re.IGNORECASE)
"""What cameras write as the description of every photo."""
_OF_PROGRAMS = re.compile(r"\{\s*\"|\[?\s*\{|<\?xml|<OME|ImageJ=|Created with |Screenshot$|Processed with ", re.IGNORECASE)
"""How begins what programs write there: sizes of arrays as JSON, XML of microscopes, their own names."""


def text(value: object) -> str | None:
    """A text without what stands around it; None if nothing is left."""
    if isinstance(value, bytes):
        value = decoded(value)
    if not isinstance(value, str):
        return None
    cleaned = " ".join(_CONTROLS.sub(" ", value).split())
    return cleaned or None


def decoded(content: bytes) -> str:
    """Bytes as text: UTF-8, or else Latin-1."""
    content = content.split(b"\0", 1)[0] if b"\0" in content else content
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def number(value: object, least: float = -math.inf, most: float = math.inf, digits: int = 6) -> float | None:
    """A finite number within limits, rounded; None for all else."""
    if isinstance(value, (tuple, list)):
        value = value[0] if value else None
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return round(found, digits) if math.isfinite(found) and least <= found <= most else None


def whole(value: object, least: int, most: int) -> int | None:
    """A whole number within limits; None for all else."""
    found = number(value, least, most)
    return None if found is None else int(found)


def time(value: object, offset: object = None) -> str | None:
    """A time in ISO 8601, as the clock showed it; with its distance from UTC if that is known.

    Args:
        value: such as "2024:05:06 07:08:09", "2024-05-06T07:08:09+02:00" or only a part, "2024-05".
        offset: such as "+02:00"; None if the time itself says it, or nobody does.
    """
    found = _DATE.match(text(value) or "")
    if found is None:
        return None
    year, month, day, hour, minute, second, own = found.groups()
    try:
        at = datetime(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0))
    except ValueError:
        return None
    if at.year < 1800:
        return None
    if hour is None:
        return at.date().isoformat()[: 10 if day else 7 if month else 4]
    return at.isoformat() + (_offset(own) or _offset(text(offset)) or "")


def time_of_second(value: object) -> str | None:
    """A number of seconds since 1970 as a time in UTC."""
    seconds = number(value)
    try:
        return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).isoformat()
    except (OverflowError, OSError, ValueError):
        return None


def _offset(value: str | None) -> str | None:
    if value == "Z":
        return "+00:00"
    found = _OFFSET.match(value or "")
    if found is None or int(found[2]) > 14 or int(found[3]) > 59:
        return None
    return f"{found[1]}{found[2]}:{found[3]}"


def place(latitude: object, longitude: object) -> dict[str, float]:
    """The columns `latitude` and `longitude` in decimal degrees; {} if they are no place.

    0, 0 is none: it is what devices write that don't know where they are.
    """
    north, east = number(latitude, -90, 90), number(longitude, -180, 180)
    if north is None or east is None or (north, east) == (0, 0):
        return {}
    return {"latitude": north, "longitude": east}


def camera(make: object, model: object) -> str | None:
    """A camera's make and model in one text, the make not twice."""
    maker, name = text(make), text(model)
    if not maker or not name:
        return name or maker
    if name.split()[0].casefold() in maker.casefold().split():
        return name
    return f"{_MAKERS.sub('', maker).strip()} {name}"


def description(value: object) -> str | None:
    """A description; None for what cameras write of every photo, and for what programs note for themselves."""
    found = text(value)
    return None if found is None or _OF_CAMERAS.match(found) or _OF_PROGRAMS.match(found) else found


def rating(value: object) -> int | None:
    """Stars from 1 to 5, or -1 of a photo that was rejected; None if there is none."""
    found = whole(value, -1, 5)
    return found or None


def tags(values: object) -> list[str]:
    """Keywords, each once; the levels of one from a hierarchy are separated by "/"."""
    found = [values] if isinstance(values, (str, bytes)) else values if isinstance(values, (list, tuple)) else []
    cleaned = (text(one.replace("|", "/") if isinstance(one, str) else one) for one in found)
    return list(dict.fromkeys(one for one in cleaned if one))
