"""Reads the text in a collection's photos, and publishes it. What was read survives an interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from encoder.errors import UnreadableImage
from encoder.inputs.image_inputs import features_in
from encoder.inputs.pixels import decode
from indexer.items import Failure, one_line
from indexer.photo_loader import MISSING, sha256_of_both
from storage.errors import unusable
from storage.files import sha256_of
from storage.maintenance import changed
from storage.photo_texts import PhotoText, PhotoTexts, TextLine, add_pending, pending_files, pending_texts, remove_pending
from storage.photo_uri import PhotoUri

if TYPE_CHECKING:
    from PIL import Image

    from storage.collection import Collection
    from storage.home import Home

PHOTOS_AT_ONCE = 32
CHANGED = "changed"
WITHOUT_PHOTO = ".npz"
Progress = Callable[[str, int, int], None]


class Reader(Protocol):
    """Reads the text in a photo; `indexer.text_reader.TextReader` is one."""

    def read(self, photo: Image.Image) -> list[TextLine]:
        """The lines of text in an upright RGB photo."""
        ...


class _Place(NamedTuple):
    """Where a photo is: its uri, and a detector's features of it, which are a part of its content."""

    uri: str
    features: str | None = None


@dataclass(frozen=True)
class _Unread:
    """What is still to be read of a version.

    Attributes:
        photos: by content (SHA-256), a photo that has it.
        known: contents that were read before.
    """

    photos: dict[str, _Place]
    known: int


@dataclass
class _Counts:
    read: int = 0
    with_text: int = 0
    lines: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def done(self) -> int:
        """The number of photos that were tried."""
        return self.read + len(self.failures)

    def add(self, lines: list[TextLine]) -> None:
        """Count a photo that was read."""
        self.read, self.with_text, self.lines = self.read + 1, self.with_text + bool(lines), self.lines + len(lines)


def read_texts(
    home: Home, name: str, open_reader: Callable[[], Reader], progress: Progress | None = None, limit: int | None = None
) -> dict[str, Any]:
    """Read the text in all photos that were not read yet, and publish a version that has it.

    The collection is locked only for the publication. Each content is read once, however many photos have it. Every
    `PHOTOS_AT_ONCE` photos are durable at once: an interrupted run loses no more, and the next one goes on.

    Args:
        home: the home.
        name: the collection's name.
        open_reader: opens what reads; called only if there is something to read.
        progress: called with how far the run is.
        limit: the largest number of photos to read; None reads all.

    Returns:
        The report of the command, as JSON values.

    Raises:
        UnknownCollection, EmptyCollection: there is nothing to read.
        BrokenTexts: the texts that were read before are damaged.
        CollectionBusy, UnfinishedRun: what was read can't be published now; it is kept, and the next run publishes it.
        UnusableHome: the system refuses to write.
    """
    collection, counts = home.collection(name), _Counts()
    unread = _unread(collection)
    todo = dict(list(unread.photos.items())[:limit])
    reader, told = open_reader() if todo else None, progress or (lambda stage, done, total: None)
    for batch in _batches(todo, PHOTOS_AT_ONCE):
        if reader is not None:
            texts = _texts_of(batch, reader, counts, lambda: told("photos", counts.done, len(todo)))
            try:
                add_pending(collection.folder, texts)
            except OSError as error:
                raise unusable(home.path, error) from error
    return _publish(home, name) | {
        "read": counts.read,
        "with_text": counts.with_text,
        "lines": counts.lines,
        "known": unread.known,
        "left": len(unread.photos) - len(todo),
        "failures": [{"uri": one.uri, "reason": one.reason, "sentence": one.sentence} for one in counts.failures],
    }


def text_lines(report: dict[str, Any]) -> Iterator[str]:
    """Format a `read_texts` report for people."""
    yield (
        f"{report['read']} photos read, {report['with_text']} of them with text ({report['lines']} lines); "
        f"{report['known']} were read before"
        + (f", {report['left']} are left" if report["left"] else "")
        + (f", {len(report['failures'])} could not be read" if report["failures"] else "")
    )
    yield f"{report['collection']} is at version {report['version']}"


def _unread(collection: Collection) -> _Unread:
    snapshot = collection.open_rows()
    table = snapshot.image_table()
    columns = (table[name].to_pylist() for name in ("sha256", "uri", "metadata"))
    place_of = {content: _Place(uri, features_in(json.loads(told))) for content, uri, told in zip(*columns, strict=True)}
    contents = [content for content, place in place_of.items() if not place.uri.lower().endswith(WITHOUT_PHOTO)]
    published = PhotoTexts.open(collection.folder, collection.manifest.texts)
    waiting = pending_texts(pending_files(collection.folder))
    known = (published.rows_of(contents) >= 0) | (waiting.rows_of(contents) >= 0)
    return _Unread({c: place_of[c] for c, done in zip(contents, known.tolist(), strict=True) if not done}, int(known.sum()))


def _batches(photos: dict[str, _Place], size: int) -> Iterator[dict[str, _Place]]:
    contents = list(photos)
    for start in range(0, len(contents), size):
        yield {content: photos[content] for content in contents[start : start + size]}


def _texts_of(
    photos: dict[str, _Place], reader: Reader, counts: _Counts, after_each: Callable[[], None]
) -> Iterable[PhotoText]:
    """Read some photos, given by content, and count what comes of it."""
    texts: list[PhotoText] = []
    for content, place in photos.items():
        lines = _lines_in(place, content, reader)
        if isinstance(lines, Failure):
            counts.failures.append(lines)
        else:
            counts.add(lines)
            texts.append(PhotoText(content, lines))
        after_each()
    return texts


def _lines_in(place: _Place, content: str, reader: Reader) -> list[TextLine] | Failure:
    """The text in a photo, or why it can't be read."""
    try:
        photo = _photo(place, content)
        return photo if isinstance(photo, Failure) else reader.read(photo)
    except Exception as error:  # what reads may fail in any way, and one photo must not end every run
        problem = one_line(f"{type(error).__name__}: {error}")
        return Failure(place.uri, "undecodable", f"The text in {one_line(place.uri)} can't be read ({problem}).")


def _photo(place: _Place, content: str) -> Image.Image | Failure:
    """The pixels of a photo, if it still has this content."""
    uri, name = place.uri, one_line(place.uri)
    try:
        with PhotoUri.at(uri).open() as file:
            data = file.read()
        own = hashlib.sha256(data).hexdigest()
        if content != own and (not place.features or content != sha256_of_both(own, sha256_of(Path(place.features)))):
            return Failure(uri, CHANGED, f"{name} has changed since it was indexed; run build-index first.")
        return decode(data, name=name)
    except FileNotFoundError:
        return Failure(uri, MISSING, f"{name} does not exist; check the path.")
    except UnreadableImage as error:
        return Failure(uri, error.reason, str(error))
    except OSError as error:
        return Failure(uri, "unreadable", f"{name} cannot be read ({error.strerror or error}).")


def _publish(home: Home, name: str) -> dict[str, Any]:
    """Publish what waits; the version that is published then, and its counts."""
    collection = home.collection(name)
    files = pending_files(collection.folder)
    if not files:
        manifest = collection.manifest
        return {"collection": name, "version": manifest.version, "changed": False}
    newer = pending_texts(files)

    def publish(writer):
        older = PhotoTexts.open(collection.folder, writer.manifest.texts)
        return writer.put_texts(newer, older, f"text read in {len(newer)} photos")

    report = changed(home, name, publish, drop_unfinished=False)
    remove_pending(collection.folder, files)
    return {key: report[key] for key in ("collection", "version", "changed")}
