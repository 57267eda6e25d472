"""WebDataset shards: tar files in which 0001.jpg, 0001.txt and 0001.json are one sample."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from indexer.errors import EmptySource, UnknownFormat
from indexer.items import Failure, SourceCaption, SourceItem, captions_from, check_text, one_line, printable, strict_json
from indexer.sources.base import Source
from indexer.sources.folder import PHOTOS, decoded_text
from indexer.sources.packed import Packed
from indexer.sources.records import captions_by_language
from storage.photo_uri import PhotoUri, is_damaged, members

CAPTIONS = ".txt", ".json"
MOST_TEXT = 4_000_000
Member = tuple[str, tuple[int, int]]


class WebDatasetSource(Source):
    """The photos of one tar, or of all tars of a folder, in the order in which they lie there. They are read where they
    are. `key.txt` holds a caption in each line; `key.json` holds `captions` as a manifest does, or `caption`; its other keys
    are metadata."""

    format = "webdataset"

    def __init__(self, root: Path):
        """Raises UnknownFormat for a tar that can't be read, where it is the only one, or EmptySource."""
        shards = [root] if root.is_file() else shards_in(root)
        problems: list[Failure] = []
        items = Packed(item for shard in shards for item in _photos(shard, problems))
        if not items and problems:
            raise UnknownFormat(root, problems[0].sentence.rstrip("."))
        if not items:
            raise EmptySource(root, "tar files with photos")
        super().__init__(root, items, problems, [PhotoUri(shard, "").uri for shard in shards if not _is_whole(shard)])


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
    told: dict[str, dict[str, str]] = {}
    for name in found:
        key, ending = _split(name)
        if ending in CAPTIONS:
            told.setdefault(key, {})[ending] = name
    with open(shard, "rb") as file:
        for name in found:
            key, ending = _split(name)
            if ending in PHOTOS and not os.path.basename(name).startswith("."):
                yield _item(
                    PhotoUri(shard, name), {end: (text, found[text]) for end, text in told.get(key, {}).items()}, file, problems
                )


def _split(name: str) -> tuple[str, str]:
    """WebDataset's key and ending: all up to the first point of the last part, and the last ending."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}", os.path.splitext(last)[1].lower()


def _item(photo: PhotoUri, texts: dict[str, Member], file, problems: list[Failure]) -> SourceItem:
    captions: list[SourceCaption] = []
    metadata: dict = {}
    for ending, (name, (offset, size)) in sorted(texts.items(), reverse=True):
        try:
            if size > MOST_TEXT:
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
    return SourceItem(photo.path, _once(captions), metadata, photo.member)


def _json_captions(content: bytes) -> tuple[list[SourceCaption], dict]:
    """The captions and the other keys of a sample's JSON. Raises ValueError."""
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


def _once(captions: list[SourceCaption]) -> list[SourceCaption]:
    return list({(caption.language, caption.text): caption for caption in reversed(captions)}.values())[::-1]
