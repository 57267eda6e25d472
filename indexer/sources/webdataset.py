"""WebDataset shards: tar files in which 0001.jpg, 0001.txt and 0001.json are one sample."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from indexer.errors import EmptySource, UnknownFormat
from indexer.items import Failure, SourceCaption, SourceItem, one_line, printable, read_json
from indexer.sources import unused
from indexer.sources.base import Source
from indexer.sources.listing import PHOTOS, ambiguous_text
from indexer.sources.packed import PackedItems
from indexer.sources.photo_pairs import given_to_photos, second_files
from indexer.sources.records import Record, read_record
from indexer.sources.text_files import MAX_TEXT_BYTES, text_captions
from indexer.sources.text_pairing import TEXTS, PairedText, pair
from indexer.sources.unused import Unused
from storage.photo_uri import PhotoUri, TarListing, tar_listing

if TYPE_CHECKING:
    from indexer.sources.sample_table import SampleTable

JSON, PARQUET = ".json", ".parquet"


class WebDatasetSource(Source):
    """The photos of one tar file, or of all tar files of a folder, in the order of the files. Nothing is unpacked.

    `key.txt` holds one caption a line. `key.json` holds captions as a manifest's record does; its other keys are metadata.
    """

    format = "webdataset"

    def __init__(self, root: Path):
        """List the tar files.

        Raises:
            UnknownFormat: there is no photo, and a tar file can't be read.
            EmptySource: there is no photo.
        """
        shards = [root] if root.is_file() else shards_in(root)
        tables = [table for shard in shards if (table := shard.with_suffix(PARQUET)).is_file()]
        problems: list[Failure] = []
        left = Unused()
        items = PackedItems(item for shard in shards for item in _photos(shard, problems, left))
        if not items and problems:
            raise UnknownFormat(root, problems[0].sentence.rstrip("."))
        if not items:
            raise EmptySource(root, "tar files with photos", left.summary())
        hidden_prefixes = [PhotoUri(shard, "").uri for shard in shards if not _is_whole(shard)]
        super().__init__(root, items, problems, hidden_prefixes, left, [*shards, *tables])


def shards_in(folder: Path) -> list[Path]:
    """The tar files directly in a folder, by name; if there are none, those of its sub-folders."""
    for pattern in ("*.tar", "*/*.tar"):
        found = [path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith(".")]
        if found:
            return sorted(found)
    return []


def _is_whole(shard: Path) -> bool:
    try:
        return not tar_listing(shard).damaged
    except (OSError, tarfile.TarError):
        return False


def _photos(shard: Path, problems: list[Failure], left: Unused) -> Iterator[SourceItem]:
    shown = printable(shard)
    try:
        listing = tar_listing(shard)
    except (OSError, tarfile.TarError) as error:
        reason = one_line(getattr(error, "strerror", None) or str(error))
        sentence = f"{shown} can't be read as an uncompressed tar ({reason}); replace or unpack it."
        problems.append(Failure(shown, "shard_unreadable", sentence))
        return
    if listing.damaged:
        sentence = f"{shown} ends before its end, or is damaged; what stands before that was read."
        problems.append(Failure(shown, "shard_damaged", sentence))
    _report_unreadable(shard, listing, problems, left)
    yield from _samples(shard, listing, problems, left)


def _report_unreadable(shard: Path, listing: TarListing, problems: list[Failure], left: Unused) -> None:
    """Tell of photos and texts that the tar has in a form that can't be read in place."""
    for name, why in listing.unreadable.items():
        if _ending(name) in PHOTOS | TEXTS | {JSON} and not _is_hidden(name):
            uri = PhotoUri(shard, name).uri
            problems.append(Failure(uri, "member_unreadable", f"{one_line(uri)} can't be read ({why}); unpack that file."))
        else:
            left.add(unused.OTHER_KIND, name)


def _samples(shard: Path, listing: TarListing, problems: list[Failure], left: Unused) -> Iterator[SourceItem]:
    """Join the photos of a tar file with their texts."""
    found = listing.members
    all_photos = [name for name in found if _ending(name) in PHOTOS and not _is_hidden(name)]
    texts = [name for name in found if _ending(name) in TEXTS | {JSON} and not _is_hidden(name)]
    pairing = pair(all_photos, sorted(texts, key=lambda name: (_ending(name) == JSON, name)), by_key=True)
    for text, candidates in pairing.ambiguous.items():
        problems.append(ambiguous_text(PhotoUri(shard, text).uri, candidates))
    wanted = PHOTOS | TEXTS | {JSON}
    for name in found:
        if _is_hidden(name):
            left.add(unused.HIDDEN, name, "hidden")
        elif _ending(name) not in wanted:
            left.add(unused.OTHER_KIND, name)
    for name in pairing.unmatched:
        left.add(unused.NO_PHOTO, PhotoUri(shard, name).uri, unused.kind_of(name))
    table = _sample_table(shard, problems)
    second = second_files(all_photos)
    of_photo = given_to_photos(pairing.of_photo, second)
    for name in second:
        left.add(unused.PAIR, PhotoUri(shard, name).uri, unused.kind_of(name))
    with open(shard, "rb") as file:
        for name in all_photos:
            if name not in second:
                item = _item(PhotoUri(shard, name), of_photo.get(name, []), listing, file, problems)
                yield item if table is None else _with_row(item, table.row_of(name), problems)


def _sample_table(shard: Path, problems: list[Failure]) -> SampleTable | None:
    """What img2dataset wrote beside a tar; None if there is nothing."""
    path = shard.with_suffix(PARQUET)
    if not path.is_file():
        return None
    from indexer.sources.sample_table import SampleTable  # pyarrow takes a while to import

    try:
        return SampleTable(path)
    except UnknownFormat as error:
        problems.append(Failure(printable(path), "shard_unreadable", f"{one_line(str(error))}."))
        return None


def _with_row(item: SourceItem, row: dict[str, Any], problems: list[Failure]) -> SourceItem:
    """A photo with what the table beside its tar says; the sample's own JSON counts more."""
    try:
        own = read_record(row, "JSON")
    except (ValueError, RecursionError) as error:
        uri = PhotoUri(item.uri, item.member).uri
        sentence = f"What the Parquet file beside {one_line(uri)} says of it can't be used ({one_line(str(error))})."
        problems.append(Failure(f"{uri} (row)", "bad_row", sentence))
        return item
    return replace(item, captions=_distinct([*item.captions, *own.captions]), metadata=own.metadata | item.metadata)


def _item(photo: PhotoUri, texts: list[PairedText], listing: TarListing, file: BinaryIO, problems: list[Failure]) -> SourceItem:
    captions: list[SourceCaption] = []
    metadata: dict[str, Any] = {}
    for text in texts:
        try:
            own = _read(file, listing.members[text.name], text)
        except (ValueError, RecursionError) as error:
            uri = PhotoUri(photo.path, text.name).uri
            sentence = f"{one_line(uri)} can't be used ({one_line(str(error))}); its photo was indexed without it."
            problems.append(Failure(uri, "caption_unreadable", sentence))
            continue
        captions += own.captions
        metadata = own.metadata | metadata
    return SourceItem(photo.path, _distinct(captions), metadata, photo.member)


def _read(file: BinaryIO, span: tuple[int, int], text: PairedText) -> Record:
    """The captions of a text, and the other keys of a JSON.

    Raises:
        ValueError: it can't be used.
        RecursionError: the JSON is nested too deeply.
    """
    offset, size = span
    if size > MAX_TEXT_BYTES:
        raise ValueError(f"it has {size} bytes")
    file.seek(offset)
    content = file.read(size)
    if _ending(text.name) != JSON:
        return Record(text_captions(content, text.language), {})
    return read_record(read_json(content.decode("utf-8-sig")), "JSON", text.language)


def _distinct(captions: list[SourceCaption]) -> list[SourceCaption]:
    """The captions without repeats; the first of each is kept."""
    return list({(caption.language, caption.text): caption for caption in reversed(captions)}.values())[::-1]


def _is_hidden(name: str) -> bool:
    return os.path.basename(name).startswith(".")


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()
