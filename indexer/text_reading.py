"""Reads the text in a collection's photos, and publishes it. What was read survives an interruption."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from encoder.errors import UnreadableImage
from encoder.inputs.pixels import decode
from indexer.items import Failure, one_line
from indexer.photo_loader import MISSING
from storage.files import remove
from storage.maintenance import changed
from storage.photo_texts import PhotoText, PhotoTexts, TextLine, add_pending, pending_files, pending_texts
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


@dataclass(frozen=True)
class _Unread:
    """What is still to be read of a version.

    Attributes:
        photos: by content (SHA-256), a photo that has it.
        known: contents that were read before.
    """

    photos: dict[str, str]
    known: int


@dataclass
class _Counts:
    read: int = 0
    with_text: int = 0
    lines: int = 0
    failures: list[Failure] = field(default_factory=list)


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
    """
    collection, counts = home.collection(name), _Counts()
    unread = _unread(collection)
    todo = dict(list(unread.photos.items())[:limit])
    reader = open_reader() if todo else None
    for batch in _batches(todo, PHOTOS_AT_ONCE):
        if reader is not None:
            add_pending(collection.folder, _texts_of(batch, reader, counts))
        if progress is not None:
            progress("photos", counts.read + len(counts.failures), len(todo))
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
    uri_of = dict(zip(table["sha256"].to_pylist(), table["uri"].to_pylist(), strict=True))
    contents = [content for content, uri in uri_of.items() if not uri.lower().endswith(WITHOUT_PHOTO)]
    published = PhotoTexts.open(collection.folder, collection.manifest.texts)
    waiting = pending_texts(pending_files(collection.folder))
    known = (published.rows_of(contents) >= 0) | (waiting.rows_of(contents) >= 0)
    return _Unread({c: uri_of[c] for c, done in zip(contents, known.tolist(), strict=True) if not done}, int(known.sum()))


def _batches(photos: dict[str, str], size: int) -> Iterator[dict[str, str]]:
    contents = list(photos)
    for start in range(0, len(contents), size):
        yield {content: photos[content] for content in contents[start : start + size]}


def _texts_of(photos: dict[str, str], reader: Reader, counts: _Counts) -> Iterable[PhotoText]:
    """Read some photos, given by content, and count what comes of it."""
    texts: list[PhotoText] = []
    for content, uri in photos.items():
        photo = _photo(uri, content)
        if isinstance(photo, Failure):
            counts.failures.append(photo)
            continue
        lines = reader.read(photo)
        counts.read, counts.with_text, counts.lines = counts.read + 1, counts.with_text + bool(lines), counts.lines + len(lines)
        texts.append(PhotoText(content, lines))
    return texts


def _photo(uri: str, content: str) -> Image.Image | Failure:
    """The pixels of a photo, if it still has this content."""
    name = one_line(uri)
    try:
        with PhotoUri.at(uri).open() as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != content:
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
    for path in files:
        remove(path)
    return {key: report[key] for key in ("collection", "version", "changed")}
