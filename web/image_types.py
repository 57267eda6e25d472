"""What kind of file something is, by its first bytes: a name or a header that came with it proves nothing."""

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
_IN_BROWSERS = {"image/jpeg", "image/png", "image/gif", "image/bmp", "image/webp", "image/avif"}
_FORMATS = {
    "image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF", "image/bmp": "BMP", "image/webp": "WEBP",
    "image/tiff": "TIFF",
}  # fmt: skip

_ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "WEBP": ".webp", "TIFF": ".tif"}


def browser_type(head: bytes) -> str | None:
    """The media type of a file by its first 16 bytes, or None where browsers can't show it."""
    kind = _media_type(head)
    return kind if kind in _IN_BROWSERS else None


def upload_format(head: bytes) -> str | None:
    """What Pillow calls the format of a file that may be searched with; None for all others."""
    return _FORMATS.get(_media_type(head))


def upload_ending(head: bytes) -> str:
    """How the name of such a file ends, such as ".jpg"; "" for all others."""
    return _ENDINGS.get(upload_format(head), "")


def _media_type(head: bytes) -> str | None:
    return next((kind for at, signature, kind in _SIGNATURES if head[at:].startswith(signature)), None)
