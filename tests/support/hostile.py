"""A corpus of photos as nobody wants them, made by code: what is in each, and what must become of it."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, PngImagePlugin

from tests.support.fakes import photo

ROWS_A_GROUP = 9


@dataclass(frozen=True)
class Case:
    """A file by its name (as the system gives it): its photo's colour and upright size, or why it can't be one."""

    name: str
    content: bytes
    colour: tuple[int, int, int] | None = None
    size: tuple[int, int] = (48, 32)
    reason: str | None = None
    captions: list[str] = field(default_factory=list)


def corpus() -> list[Case]:
    """Photos that can be used among files that can't; each photo has a colour that no other has."""
    return [*_odd_photos(), *_bad_files(), *_odd_names(), *_odd_captions()]


def write_folder(folder: Path) -> dict[str, Case]:
    """The corpus as a folder, with links and hidden files that only a folder can have; by the name each is known by."""
    cases = {case.name: case for case in corpus()}
    folder.mkdir()
    for case in cases.values():
        path = folder / case.name
        path.write_bytes(case.content)
        if case.captions:
            path.with_suffix(".txt").write_text("\n".join(case.captions), encoding="utf-8")
    (folder / "._hidden.jpg").write_bytes(b"Mac OS X")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.jpg").write_bytes(cases["plain.jpg"].content)
    for name, target in (("loop.jpg", "loop.jpg"), ("gone.jpg", "nowhere.jpg"), ("again", "."), ("up", "..")):
        os.symlink(target, folder / name)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    (folder / "secret.jpg").write_bytes(_bytes(photo((1, 2, 3))))
    (folder / "secret.jpg").chmod(0)
    bad = [
        Case("loop.jpg", b"", reason="unreadable"),
        Case("gone.jpg", b"", reason="missing"),
        Case("pipe.jpg", b"", reason="not_a_file"),
    ]
    read = os.access(folder / "secret.jpg", os.R_OK)  # root may read anything
    secret = Case("secret.jpg", b"", (1, 2, 3)) if read else Case("secret.jpg", b"", reason="unreadable")
    return cases | {case.name: case for case in [*bad, secret]}


def write_manifest(folder: Path) -> dict[str, Case]:
    """The corpus behind a manifest that has bad lines, a photo twice and an id twice."""
    cases = _saved(folder)
    lines = [json.dumps({"image": case.name, "captions": {"en": case.captions}, "id": 7}) for case in cases.values()]
    bad = [
        "{",
        "[1]",
        "\ufffe",
        '{"image": 3}',
        '{"image": "plain.jpg", "captions": {"en": ["\\ud800"]}}',
        "null",
        "\0",
        '{"image": "' + "x" * 5000 + '.jpg", "captions": {}, "x": -}',
    ]
    mixed = [line for number, own in enumerate(lines) for line in (*bad[number : number + 1], own)]
    (folder / "manifest.jsonl").write_text("\n".join([*mixed, lines[0]]), encoding="utf-8")
    return cases


def write_parquet(folder: Path) -> dict[str, Case]:
    """The corpus behind a Parquet manifest that has rows without a photo."""
    cases = _saved(folder)
    images = [name for case in cases.values() for name in (None, case.name)]
    captions = [own for case in cases.values() for own in (None, {"en": case.captions})]
    kind = pa.struct([("en", pa.list_(pa.string()))])
    pq.write_table(pa.table({"image": images, "captions": pa.array(captions, kind)}), folder / "manifest.parquet")
    return cases


def write_photos_in_parquet(folder: Path) -> dict[str, Case]:
    """The corpus inside a Parquet file, a few rows a row group, among rows without a photo."""
    folder.mkdir()
    cases = [case for own in corpus() for case in (None, own)]
    images = [None if case is None else {"bytes": case.content, "path": None} for case in cases]
    captions = [None if case is None else case.captions for case in cases]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(images, kind), "captions": pa.array(captions, pa.list_(pa.string()))})
    pq.write_table(table, folder / "photos.parquet", row_group_size=ROWS_A_GROUP)
    places = (f"{number // ROWS_A_GROUP}/{number % ROWS_A_GROUP}/image" for number in range(len(cases)))
    return {place: replace(case, name=place) for place, case in zip(places, cases, strict=True) if case is not None}


def write_shard(folder: Path) -> dict[str, Case]:
    """The corpus as a WebDataset shard."""
    folder.mkdir()
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for case in corpus():
            _add(tar, case.name, case.content)
            if case.captions:
                _add(tar, os.path.splitext(case.name)[0] + ".txt", "\n".join(case.captions).encode())
    return {case.name: case for case in corpus()}


def _saved(folder: Path) -> dict[str, Case]:
    """The files whose names are text."""
    folder.mkdir()
    cases = {case.name: case for case in corpus() if "\udcff" not in case.name}
    for case in cases.values():
        (folder / case.name).write_bytes(case.content)
    return cases


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _bytes(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _odd_photos() -> list[Case]:
    grey16 = Image.fromarray(np.full((32, 48), 40 * 257, np.uint16))
    palette = photo((0, 90, 0)).quantize(4)
    turned = photo((0, 120, 60), (60, 20))
    exif = turned.getexif()
    exif[0x0112] = 6
    frames = [photo(colour) for colour in ((0, 30, 90), "red", "white")]
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"eXIf", b"\xff\xff no EXIF at all")
    return [
        Case("plain.jpg", _bytes(photo((90, 60, 30)), "JPEG"), (90, 60, 30)),
        Case("tiny.png", _bytes(photo((20, 40, 160), (1, 1))), (20, 40, 160), (1, 1)),
        Case("narrow.png", _bytes(photo((150, 40, 160), (1, 3000))), (150, 40, 160), (1, 3000)),
        Case("large.jpg", _bytes(photo((120, 40, 10), (3000, 2400)), "JPEG"), (120, 40, 10), (3000, 2400)),
        Case("cmyk.jpg", _bytes(photo((200, 150, 100)).convert("CMYK"), "JPEG", quality=95), (200, 150, 100)),
        Case("cmyk.tiff", _bytes(photo((100, 150, 200)).convert("CMYK"), "TIFF"), (100, 150, 200)),
        Case("sixteen.png", _bytes(grey16), (40, 40, 40)),
        Case("float.tiff", _bytes(Image.fromarray(np.full((32, 48), 70 / 255, np.float32)), "TIFF"), (70, 70, 70)),
        Case("palette.png", _bytes(palette, transparency=palette.getpixel((0, 0))), (255, 255, 255)),
        Case("clear.webp", _bytes(Image.new("RGBA", (48, 32), (9, 9, 9, 128)), "WEBP", lossless=True), (132, 132, 132)),
        Case("moving.gif", _bytes(frames[0], "GIF", save_all=True, append_images=frames[1:]), (0, 30, 90)),
        Case(
            "moving.webp",
            _bytes(photo((60, 0, 90)), "WEBP", save_all=True, append_images=frames[1:], lossless=True),
            (60, 0, 90),
        ),
        Case("moving.png", _bytes(photo((90, 0, 30)), "PNG", save_all=True, append_images=frames[1:]), (90, 0, 30)),
        Case("turned.jpg", _bytes(turned, "JPEG", exif=exif), (0, 120, 60), (20, 60)),
        Case("profile.jpg", _bytes(photo((0, 150, 150)), "JPEG", icc_profile=b"\xff broken" * 9), (0, 150, 150)),
        Case("exif.png", _bytes(photo((150, 150, 0)), "PNG", pnginfo=chunks), (150, 150, 0)),
        Case("in fact a png.jpg", _bytes(photo((180, 90, 180))), (180, 90, 180)),
    ]


def _bad_files() -> list[Case]:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8))
    scripted = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    return [
        Case("empty.jpg", b"", reason="empty"),
        Case("cut.jpg", _bytes(noise, "JPEG")[:900], reason="damaged"),
        Case("cut.png", _bytes(noise)[:900], reason="damaged"),
        Case("cut.webp", _bytes(noise, "WEBP")[:900], reason="damaged"),
        Case("cut.gif", _bytes(noise, "GIF")[:1600], reason="damaged"),
        Case("head.jpg", _bytes(noise, "JPEG")[:30], reason="damaged"),
        Case("bomb.png", _png_header(50_000, 50_000), reason="too_large"),
        Case("screen.gif", b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + _bytes(photo(), "GIF")[10:], reason="too_large"),
        Case("drawing.jpg", scripted, reason="not_an_image"),
        Case("page.jpg", b"<!doctype html><p>404 Not Found</p>", reason="not_an_image"),
        Case("heights.tiff", _bytes(Image.fromarray(np.full((32, 48), 70, np.float32)), "TIFF"), reason="unsupported"),
        Case("zeros.jpg", bytes(5000), reason="not_an_image"),
    ]


def _odd_names() -> list[Case]:
    names = [
        "new\nline.jpg",
        "🐕 dog.jpg",
        "照片.jpg",
        "old \udcff archive.jpg",
        "-rf.jpg",
        "100%!#?&'\" [1]{2}.jpg",
        "\x1b[31mred\x07.jpg",
        "x" * 200 + ".jpg",
        "UPPER.JPG",
        " space .jpg",
        "tar: x!y.jpg",
        "e\u0301.jpg",
        "\u00e9.jpg",
    ]
    colours = [(15 * number, 200 - 15 * number, 75) for number in range(len(names))]
    return [
        Case(name, _bytes(photo(colour), "JPEG", quality=95), colour, captions=[f"photo number {number}"])
        for number, (name, colour) in enumerate(zip(names, colours, strict=True))
    ]


def _odd_captions() -> list[Case]:
    captions = [[], ["long " * 20_000], ["nul\0inside", "后面的\0"], ["same", "same"], ["\u202e‮right to left", "🐕" * 50]]
    return [
        Case(f"said {number}.png", _bytes(photo((75, 15 * number, 210))), (75, 15 * number, 210), captions=own)
        for number, own in enumerate(captions)
    ]


def _png_header(width: int, height: int) -> bytes:
    """A PNG of one grey, whose few bytes would be gigabytes of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")
