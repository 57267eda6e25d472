"""WebDataset shards: tar files in which 0001.jpg, 0001.txt and 0001.json are one sample."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from indexer.errors import EmptySource, UnknownFormat
from indexer.items import Failure, SourceCaption, SourceItem, captions_from, check_text, one_line, printable, strict_json
from indexer.sources.base import Source
from indexer.sources.folder import PHOTOS, decoded_text
from indexer.sources.packed import PackedItems
from indexer.sources.records import captions_by_language
from storage.photo_uri import PhotoUri, is_damaged, members

CAPTIONS = ".txt", ".json"
MAX_TEXT_BYTES = 4_000_000
Member = tuple[str, tuple[int, int]]
"""A file of a tar: its name, and the offset and number of its bytes."""


class WebDatasetSource(Source):
    """The photos of one tar file, or of all tar files of a folder, in the order of the files. Nothing is unpacked.

    `key.txt` holds one caption a line. `key.json` holds `captions` as in a manifest, or `caption`; its other keys are
    metadata.
    """

    format = "webdataset"

    def __init__(self, root: Path):
        """List the tar files.

        Raises:
            UnknownFormat: there is no photo, and a tar file can't be read.
            EmptySource: there is no photo.
        """
        shards = [root] if root.is_file() else shards_in(root)
        problems: list[Failure] = []
        items = PackedItems(item for shard in shards for item in _photos(shard, problems))
        if not items and problems:
            raise UnknownFormat(root, problems[0].sentence.rstrip("."))
        if not items:
            raise EmptySource(root, "tar files with photos")
        hidden_prefixes = [PhotoUri(shard, "").uri for shard in shards if not _is_whole(shard)]
        super().__init__(root, items, problems, hidden_prefixes)


def shards_in(folder: Path) -> list[Path]:
    """The tar files directly in a folder, by name."""
    return sorted(path for path in folder.glob("*.tar") if path.is_file() and not path.name.startswith("."))


def _is_whole(shard: Path) -> bool:
    try:
        return not is_damaged(shard)
    except (OSError, tarfile.TarError):
        return False


def _photos(shard: Path, problems: list[Failure]) -> Iterator[SourceItem]:
    shown = printable(shard)
    try:
        found = members(shard)
        if is_damaged(shard):
            sentence = f"{shown} ends before its end, or is damaged; what stands before that was read."
            problems.append(Failure(shown, "shard_damaged", sentence))
    except (OSError, tarfile.TarError) as error:
        reason = one_line(getattr(error, "strerror", None) or str(error))
        sentence = f"{shown} can't be read as an uncompressed tar ({reason}); replace or unpack it."
        problems.append(Failure(shown, "shard_unreadable", sentence))
        return
    yield from _samples(shard, found, problems)


def _samples(shard: Path, found: dict[str, tuple[int, int]], problems: list[Failure]) -> Iterator[SourceItem]:
    """Join the photos of a tar file with the texts of the same key."""
    texts: dict[str, dict[str, Member]] = {}
    for name, span in found.items():
        key, ending = _split(name)
        if ending in CAPTIONS:
            texts.setdefault(key, {})[ending] = name, span
    with open(shard, "rb") as file:
        for name in found:
            key, ending = _split(name)
            if ending in PHOTOS and not os.path.basename(name).startswith("."):
                yield _item(PhotoUri(shard, name), texts.get(key, {}), file, problems)


def _split(name: str) -> tuple[str, str]:
    """WebDataset's key (all before the first dot of the base name) and the last ending, in lower case."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}", os.path.splitext(last)[1].lower()


def _item(photo: PhotoUri, texts: dict[str, Member], file: BinaryIO, problems: list[Failure]) -> SourceItem:
    captions: list[SourceCaption] = []
    metadata: dict[str, Any] = {}
    for ending, (name, (offset, size)) in sorted(texts.items(), reverse=True):
        try:
            if size > MAX_TEXT_BYTES:
                raise ValueError(f"it has {size} bytes")
            file.seek(offset)
            content = file.read(size)
            if ending == ".txt":
                captions += captions_from(decoded_text(content).splitlines(), "text file")
            else:
                own, metadata = _json_captions(content)
                captions += own
        except (ValueError, RecursionError) as error:
            uri = PhotoUri(photo.path, name).uri
            sentence = f"{one_line(uri)} can't be used ({one_line(str(error))}); its photo was indexed without it."
            problems.append(Failure(uri, "caption_unreadable", sentence))
    return SourceItem(photo.path, _distinct(captions), metadata, photo.member)


def _json_captions(content: bytes) -> tuple[list[SourceCaption], dict[str, Any]]:
    """The captions and the other keys of a sample's JSON.

    Raises:
        ValueError: the JSON can't be used.
        RecursionError: it is nested too deeply.
    """
    record = strict_json(content.decode("utf-8"))
    check_text(record)
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    captions = captions_by_language(record.pop("captions", {}), "JSON")
    text = record.pop("caption", None)
    if text is not None and not isinstance(text, str):
        raise ValueError('"caption" must be text')
    captions += captions_from([text or ""], "JSON")
    return captions, record


def _distinct(captions: list[SourceCaption]) -> list[SourceCaption]:
    """The captions without repeats; the first of each is kept."""
    return list({(caption.language, caption.text): caption for caption in reversed(captions)}.values())[::-1]
