"""The JSON that Google Takeout lays beside a photo, to columns."""

from __future__ import annotations

import json
from typing import Any

from indexer.metadata import values

LARGEST = 4 << 20


def columns_of(content: bytes | str) -> dict[str, Any]:
    """The columns in a sidecar of Google Takeout. Never raises: what is broken is left out; {} if it is no such file."""
    try:
        found = json.loads(content) if len(content) <= LARGEST else None
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    geo = _place(found.get("geoData")) or _place(found.get("geoDataExif"))
    people = found.get("people")
    columns: dict[str, Any] = {
        "taken": values.time_of_second(_part(found.get("photoTakenTime")).get("timestamp")),
        **geo,
        "title": values.text(found.get("title")),
        "description": values.description(found.get("description")),
        "people": values.tags([_part(one).get("name") for one in people] if isinstance(people, list) else []),
        "favorite": True if found.get("favorited") is True else None,
    }
    return {name: value for name, value in columns.items() if value not in (None, [], "")}


def _part(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _place(value: object) -> dict[str, float]:
    """Place and altitude; {} where Takeout wrote zeros for no place."""
    found = values.place(_part(value).get("latitude"), _part(value).get("longitude"))
    height = values.number(_part(value).get("altitude"), -100_000, 100_000, digits=2)
    return found | {"altitude": height} if found and height else found
