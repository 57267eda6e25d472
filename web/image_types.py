"""The type of an image file, told by its first bytes: a name or a header that came with it proves nothing."""

from __future__ import annotations

_SIGNATURES = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BM", "image/bmp"),
    (8, b"WEBP", "image/webp"),
    (4, b"ftypavif", "image/avif"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
)
"""(offset, bytes that stand there, media type)."""
_IN_BROWSERS = {"image/jpeg", "image/png", "image/gif", "image/bmp", "image/webp", "image/avif"}
_UPLOADS = {
    "image/jpeg": ("JPEG", ".jpg"), "image/png": ("PNG", ".png"), "image/gif": ("GIF", ".gif"), "image/bmp": ("BMP", ".bmp"),
    "image/webp": ("WEBP", ".webp"), "image/tiff": ("TIFF", ".tif"),
}  # fmt: skip
"""Pillow's name of the format, and how a file's name ends, by media type."""


def browser_type(head: bytes) -> str | None:
    """The media type of a file by its first 16 bytes; None if browsers can't show it."""
    kind = _media_type(head)
    return kind if kind in _IN_BROWSERS else None


def upload_format(head: bytes) -> str | None:
    """Pillow's name for the format of a file that may be searched with, such as "JPEG"; None for all others."""
    return _UPLOADS.get(_media_type(head) or "", (None, ""))[0]


def upload_ending(head: bytes) -> str:
    """The ending of such a file's name, such as ".jpg"; "" for all others."""
    return _UPLOADS.get(_media_type(head) or "", (None, ""))[1]


def _media_type(head: bytes) -> str | None:
    return next((kind for at, signature, kind in _SIGNATURES if head[at:].startswith(signature)), None)
