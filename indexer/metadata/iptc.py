"""IPTC's records (IIM) to columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from indexer.metadata import values

_TITLE, _KEYWORD, _DATE, _TIME, _CREATOR, _DESCRIPTION = (2, 5), (2, 25), (2, 55), (2, 60), (2, 80), (2, 120)


def columns_of(content: bytes) -> dict[str, Any]:
    """The columns in IPTC's records. Never raises: what is broken is left out."""
    found: dict[tuple[int, int], list[bytes]] = {}
    for name, value in _records(content):
        found.setdefault(name, []).append(value)

    def first(name: tuple[int, int]) -> str | None:
        return values.text(found.get(name, [b""])[0])

    columns = {
        "title": first(_TITLE),
        "description": values.description(first(_DESCRIPTION)),
        "tags": values.tags(found.get(_KEYWORD, [])),
        "creator": first(_CREATOR),
        "taken": _taken(first(_DATE) or "", first(_TIME) or ""),
    }
    return {name: value for name, value in columns.items() if value}


def _records(content: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    at = 0
    while at + 5 <= len(content) and content[at] == 0x1C:
        size = int.from_bytes(content[at + 3 : at + 5], "big")
        if size & 0x8000:  # so long that its length has bytes of its own; nothing that is asked for is
            return
        yield (content[at + 1], content[at + 2]), content[at + 5 : at + 5 + size]
        at += 5 + size


def _taken(date: str, time: str) -> str | None:
    """From "20240506" and "070809+0200"."""
    if len(date) != 8:
        return None
    day = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    clock = f"T{time[:2]}:{time[2:4]}:{time[4:6]}" if len(time) >= 6 else ""
    return values.time(day + clock, time[6:]) or values.time(day)
