"""The type of an image file that is sent or shown, told by its first bytes: a name or a header proves nothing."""

from __future__ import annotations

from encoder.inputs.image_formats import format_of


def browser_type(head: bytes) -> str | None:
    """The media type of a file by its first `HEAD_BYTES`; None if browsers can't show it."""
    kind = format_of(head)
    return kind.media_type if kind is not None and kind.in_browsers else None


def upload_ending(head: bytes) -> str:
    """The ending for the name of a file that was sent, such as ".jpg"; "" if it is no photo."""
    kind = format_of(head)
    return kind.endings[0] if kind is not None else ""
