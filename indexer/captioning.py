"""Writes captions of photos with a model, and publishes them. What was written survives an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.errors import UnwrittenLanguage
from encoder.inputs.image_inputs import features_in
from encoder.runtime.pair import tokens_fingerprint
from indexer.errors import PhotosGone
from indexer.items import Failure, SourceItem, one_line
from indexer.photo_loader import MISSING, Job, Photo, load_photo
from indexer.photo_pool import PhotoReader, default_workers
from storage.errors import OtherWeights, unusable
from storage.filtering.evaluator import ids_where
from storage.maintenance import Maintenance, changed
from storage.origins import GENERATED
from storage.photo_uri import PhotoUri
from storage.segments.schemas import CaptionRecord, ImageRecord
from storage.snapshot import rows_of
from storage.written_captions import (
    PhotosByContent,
    WrittenBatch,
    WrittenText,
    add_written,
    contents_of,
    remove_written,
    written_batches,
    written_contents,
    written_files,
)

if TYPE_CHECKING:
    from encoder.api import BulkEncoder, CaptionWriter, WrittenCaption
    from storage.collection import Collection
    from storage.home import Home
    from storage.manifest import Manifest
    from storage.segments.segment_set import SegmentSet

PHOTOS_AT_ONCE = 32
FILES_AT_ONCE = 8
CHANGED = "changed"
BEAMS = 4
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Wanted:
    """Which captions to write.

    Attributes:
        language: one of the captioner's languages.
        beams: how many beginnings of a caption are followed at once.
        where: a filter on the photos; None: all.
        missing: only of photos without any caption in this language.
        limit: the largest number of photos; None: any.
    """

    language: str = "en"
    beams: int = BEAMS
    where: str | None = None
    missing: bool = False
    limit: int | None = None


@dataclass(frozen=True)
class FileCaption:
    """A photo by its path, and the caption that was written of it, or why it can't be read."""

    path: Path
    caption: WrittenCaption | Failure


@dataclass
class _Counts:
    written: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def done(self) -> int:
        """The number of photos that were tried."""
        return self.written + len(self.failures)


def captions_of_files(writer: CaptionWriter, paths: Sequence[Path], language: str, beams: int = BEAMS) -> Iterator[FileCaption]:
    """Write a caption of each photo, in the order of the paths.

    Raises:
        UnwrittenLanguage: the captioner doesn't write this language.
    """
    items = [SourceItem(path.expanduser().absolute(), [], {}) for path in paths]
    for path, written in zip(paths, captions_of_items(writer, items, [language], beams), strict=True):
        yield FileCaption(path, written if isinstance(written, Failure) else written[language])


def captions_of_items(
    writer: CaptionWriter, items: Sequence[SourceItem], languages: Sequence[str], beams: int = BEAMS
) -> Iterator[dict[str, WrittenCaption] | Failure]:
    """Write captions of the photos of a source; of each in every language, or why it can't be read.

    Raises:
        UnwrittenLanguage: the captioner doesn't write one of these languages.
    """
    for language in languages:
        _check_language(writer, language)
    for start in range(0, len(items), FILES_AT_ONCE):
        results = [_loaded(item, writer) for item in items[start : start + FILES_AT_ONCE]]
        photos = [one.pixels for one in results if isinstance(one, Photo)]
        tokens = writer.encode_images(np.stack(photos)) if photos else None
        written = [[] if tokens is None else writer.write(tokens, language, beams) for language in languages]
        captions = (dict(zip(languages, own, strict=True)) for own in zip(*written, strict=True))
        yield from (one if isinstance(one, Failure) else next(captions) for one in results)


def _loaded(item: SourceItem, writer: CaptionWriter) -> Photo | Failure:
    photo_uri = PhotoUri(item.uri, item.member)
    try:
        part = photo_uri.part()
    except OSError as error:
        return Failure(photo_uri.uri, MISSING, f"{one_line(photo_uri.uri)} can't be read ({error.strerror}).")
    loaded = load_photo(Job(photo_uri.uri, writer.config.inputs, None, features_in(item.metadata), str(photo_uri.path), part))
    assert isinstance(loaded, Photo | Failure)  # no content is named as known
    return loaded


def write_captions(
    home: Home, name: str, encoder: BulkEncoder, writer: CaptionWriter, wanted: Wanted, progress: Progress | None = None
) -> dict[str, Any]:
    """Write captions of a collection's photos, and publish a version that has them.

    A photo that has a caption of this captioner in this language is passed over. The collection is locked only for the
    publication. Each content is written of once, however many photos have it. Every `PHOTOS_AT_ONCE` captions are durable at
    once: an interrupted run loses no more, and the next one goes on.

    Args:
        home: the home.
        name: the collection's name.
        encoder: the collection's encoder, which makes the captions' vectors.
        writer: the captioner; what the collection has stored of photos is read if `encoder` is the captioner's, else the
            photos are opened.
        wanted: which captions to write.
        progress: called with how far the run is.

    Returns:
        The report of the command, as JSON values.

    Raises:
        UnknownCollection, EmptyCollection: there are no photos.
        UnwrittenLanguage: the captioner doesn't write this language.
        OtherWeights: `encoder` is not the collection's.
        BadFilter: `wanted.where` can't be used.
        PhotosGone: photos must be opened, and none can be read.
        CollectionBusy, UnfinishedRun: the captions can't be published now; they are kept, and the next run publishes them.
        UnusableHome: the system refuses to write.
    """
    collection, counts = home.collection(name), _Counts()
    rows = collection.open_rows()
    if collection.manifest.fingerprint != encoder.fingerprint:
        raise OtherWeights(name, collection.manifest.fingerprint, encoder.fingerprint)
    _check_language(writer, wanted.language)
    origin = GENERATED + writer.fingerprint
    unwritten, known = _unwritten(collection, rows, origin, wanted)
    todo = unwritten[: wanted.limit]
    told = progress or (lambda stage, done, total: None)
    for ids, tokens in _tokens(rows, todo, writer, encoder.fingerprint, counts):
        batch = _written_batch(rows.images(ids), writer.write(tokens, wanted.language, wanted.beams), origin, wanted, encoder)
        try:
            add_written(collection.folder, batch)
        except OSError as error:
            raise unusable(home.path, error) from error
        counts.written += len(ids)
        told("captions", counts.done, len(todo))
    if len(counts.failures) == len(todo) > 0:
        raise PhotosGone(name, len(todo), counts.failures[0].sentence)
    return publish_captions(home, name, encoder) | {
        "language": wanted.language,
        "written": counts.written,
        "known": known,
        "left": len(unwritten) - len(todo),
        "failures": [{"uri": one.uri, "reason": one.reason, "sentence": one.sentence} for one in counts.failures],
    }


def publish_captions(home: Home, name: str, encoder: BulkEncoder) -> dict[str, Any]:
    """Publish the captions that wait; the version that is published then, and how many captions it has more.

    Raises:
        CollectionBusy, UnfinishedRun: they can't be published now.
        UnusableHome: the system refuses to write.
    """
    collection, added = home.collection(name), [0]
    files = written_files(collection.folder)
    if not files:
        return {"collection": name, "version": collection.manifest.version, "changed": False, "added": 0}

    def batches(rows: SegmentSet) -> Iterator[tuple[list[CaptionRecord], np.ndarray]]:
        for records, vectors in _new_records(rows, written_batches(files), encoder):
            added[0] += len(records)
            yield records, vectors

    def publish(writer: Maintenance) -> Manifest:
        if writer.manifest.fingerprint != encoder.fingerprint:
            raise OtherWeights(name, writer.manifest.fingerprint, encoder.fingerprint)
        return writer.put_captions(batches(rows_of(collection.folder, writer.manifest)), "captions written by a model")

    report = changed(home, name, publish, drop_unfinished=False)
    remove_written(collection.folder, files)
    return {**{key: report[key] for key in ("collection", "version", "changed")}, "added": added[0]}


def caption_json(one: FileCaption) -> dict[str, Any]:
    """A photo with its caption, or why there is none, as JSON values."""
    if isinstance(one.caption, Failure):
        return {"path": str(one.path), "reason": one.caption.reason, "sentence": one.caption.sentence}
    return {"path": str(one.path), "caption": one.caption.text, "log_probability": one.caption.log_probability}


def caption_lines(report: dict[str, Any]) -> Iterator[str]:
    """Format a `write_captions` report for people."""
    if not report["written"] and not report["failures"] and not report["added"]:
        yield f"nothing to write: {report['known']} photos have their captions, or none fits"
    else:
        yield (
            f"{report['written']} captions written ({report['language']}); {report['known']} photos had theirs before"
            + (f", {report['left']} are left" if report["left"] else "")
            + (f", {len(report['failures'])} photos could not be read" if report["failures"] else "")
        )
    yield f"{report['collection']} is at version {report['version']}"


def _check_language(writer: CaptionWriter, language: str) -> None:
    if language not in writer.languages:
        raise UnwrittenLanguage(language, tuple(writer.languages))


def _unwritten(collection: Collection, rows: SegmentSet, origin: str, wanted: Wanted) -> tuple[np.ndarray, int]:
    """The photos to write of, one for each content, int64 [n]; and how many of the others have their caption."""
    everything = rows.image_ids()
    candidates = everything if wanted.where is None else ids_where(collection.open_snapshot(), wanted.where)
    has_caption = rows.captioned(wanted.language, None if wanted.missing else origin)
    left = candidates[~np.isin(candidates, has_caption)]
    contents = contents_of(rows)[np.searchsorted(everything, left)]
    waiting = np.array(written_contents(written_files(collection.folder), origin, wanted.language), "S64")
    _, first = np.unique(contents, return_index=True)
    first = np.sort(first)
    todo = left[first[~np.isin(contents[first], waiting)]]
    return todo, len(candidates) - int((~np.isin(contents, waiting)).sum())


def _tokens(
    rows: SegmentSet, ids: np.ndarray, writer: CaptionWriter, encoder: str, counts: _Counts
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Ids of photos and what the captioner reads of them, [n, L, W], `PHOTOS_AT_ONCE` at most; failures are counted."""
    if writer.encoder_fingerprint == tokens_fingerprint(encoder):
        for start in range(0, len(ids), PHOTOS_AT_ONCE):
            part = ids[start : start + PHOTOS_AT_ONCE].tolist()
            yield part, rows.tokens(part)
            rows.give_back()
        return
    ready: dict[int, np.ndarray] = {}
    for image_id, result in _read_photos(rows, ids, writer):
        if isinstance(result, Failure):
            counts.failures.append(result)
        else:
            ready[image_id] = result.pixels
        if len(ready) >= PHOTOS_AT_ONCE:
            yield list(ready), writer.encode_images(np.stack(list(ready.values())))
            ready.clear()
    if ready:
        yield list(ready), writer.encode_images(np.stack(list(ready.values())))


def _read_photos(rows: SegmentSet, ids: np.ndarray, writer: CaptionWriter) -> Iterator[tuple[int, Photo | Failure]]:
    """Open photos, in the order of `ids`; one whose content has changed since it was indexed is a failure."""
    under_way: list[ImageRecord] = []
    missing: list[tuple[int, Failure]] = []

    def jobs() -> Iterator[Job]:
        for start in range(0, len(ids), PHOTOS_AT_ONCE):
            for record in rows.images(ids[start : start + PHOTOS_AT_ONCE]):
                photo_uri = PhotoUri.at(record.uri)
                try:
                    part = photo_uri.part()
                except OSError as error:
                    sentence = f"{one_line(record.uri)} can't be read ({error.strerror})."
                    missing.append((record.image_id, Failure(record.uri, MISSING, sentence)))
                    continue
                under_way.append(record)
                yield Job(record.uri, writer.config.inputs, None, features_in(record.metadata), str(photo_uri.path), part)

    with PhotoReader(default_workers(len(ids), beside_encoder=True)) as reader:
        for _, result in reader.read(jobs()):
            record = under_way.pop(0)
            assert isinstance(result, Photo | Failure)  # no content is named as known
            if isinstance(result, Photo) and result.file.sha256 != record.sha256:
                sentence = f"{one_line(record.uri)} has changed since it was indexed; run build-index first."
                result = Failure(record.uri, CHANGED, sentence)
            yield record.image_id, result
            yield from missing
            missing.clear()
    yield from missing


def _written_batch(
    images: list[ImageRecord], written: list[WrittenCaption], origin: str, wanted: Wanted, encoder: BulkEncoder
) -> WrittenBatch:
    captions = [
        WrittenText(image.sha256, wanted.language, one.text, origin, one.log_probability)
        for image, one in zip(images, written, strict=True)
    ]
    return WrittenBatch(captions, encoder.fingerprint, encoder.encode_texts([one.text for one in captions]).vectors)


def _new_records(
    rows: SegmentSet, batches: Iterable[WrittenBatch], encoder: BulkEncoder
) -> Iterator[tuple[list[CaptionRecord], np.ndarray]]:
    """The captions that wait, one for each image that has the content and no caption of that origin and language."""
    photos, captioned = PhotosByContent(rows), dict[tuple[str, str], set[int]]()
    for batch in batches:
        if batch.encoder != encoder.fingerprint:  # the collection was rebuilt with other weights meanwhile
            vectors = encoder.encode_texts([caption.text for caption in batch.captions]).vectors
            batch = replace(batch, vectors=vectors)
        records, from_row = [], []
        ids_of_each = photos.ids([caption.sha256 for caption in batch.captions])
        for row, (caption, ids) in enumerate(zip(batch.captions, ids_of_each, strict=True)):
            key = (caption.language, caption.origin)
            if key not in captioned:
                captioned[key] = set(rows.captioned(*key).tolist())
            for image_id in set(ids.tolist()) - captioned[key]:
                captioned[key].add(image_id)
                records.append(
                    CaptionRecord(0, image_id, caption.language, caption.text, caption.origin, caption.log_probability)
                )
                from_row.append(row)
        yield records, batch.vectors[from_row]
