"""Keeps a collection in step with a source: `build-index --watch`. The system tells what changes; nothing is scanned."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from encoder.inputs.image_formats import is_second_file
from indexer.build import GUARD, KEEP
from indexer.errors import EmptySource, IndexerError, MissingSource, MostVanished
from indexer.items import SourceItem
from indexer.sources.base import Source
from indexer.sources.exclusions import IGNORE_FILE
from indexer.sources.folder import FolderSource
from indexer.sources.listing import TABLES, FolderListing, listed_item
from indexer.sources.sidecars import sidecars_of
from indexer.sources.text_pairing import folded, names_of_photo
from storage.errors import CollectionBusy, EmptyCollection, UnfinishedRun, UnknownCollection
from storage.maintenance import delete_images
from storage.photo_uri import PhotoUri, beginnings

if TYPE_CHECKING:
    from indexer.build import BuildSummary
    from storage.home import Home

QUIET_S = 1.0
"""A file that was closed, moved or deleted is looked at so many seconds after the last event."""
UNCLOSED_S = 10.0 if sys.platform == "linux" else 3.0
"""A file that was written, and whose end nobody tells, is looked at so many seconds after the last event."""
LOOK_EVERY_S = 0.25
RETRY_S = 5.0
WRITTEN, CLOSED, GONE = "written", "closed", "gone"
Build = Callable[[Source, bool], "BuildSummary"]
"""Indexes a source; True says that it lists only some of its photos."""
Tell = Callable[[str], None]
TRIED_AGAIN = (CollectionBusy, UnfinishedRun, MissingSource)
"""Errors that end by themselves, or by another command."""
TOLD_AT_FIRST = (EmptySource, MostVanished)
"""Errors of the first look after which the watch waits for a change; later it does so after each error of the source."""


class PendingChanges:
    """The paths that changed, each until nothing more happens to it. Thread safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._due: dict[str, float] = {}

    def note(self, path: str, what: str, now: float) -> None:
        """Note what happened to a path: WRITTEN, CLOSED or GONE; `now` in seconds."""
        with self._lock:
            self._due[path] = now + (UNCLOSED_S if what == WRITTEN else QUIET_S)

    def put_back(self, paths: Iterable[str], now: float) -> None:
        """Give back paths that could not be looked at, for a later attempt."""
        with self._lock:
            for path in paths:
                self._due.setdefault(path, now + RETRY_S)

    def take(self, now: float) -> set[str]:
        """Take the paths to which nothing happened for long enough."""
        with self._lock:
            due = {path for path, at in self._due.items() if at <= now}
            for path in due:
                del self._due[path]
        return due


@dataclass
class Watch:
    """Watches one source, and indexes what changes in it.

    Attributes:
        home: the home.
        name: the collection's name.
        reopen: opens the source anew, wholly.
        build: indexes a source.
        tell: is given a line for each thing that was done, or could not be done.
        missing: what happens to photos that are gone, as `build_index` takes it.
        changes: what changed and was not looked at.
    """

    home: Home
    name: str
    reopen: Callable[[], Source]
    build: Build
    tell: Tell
    missing: str = GUARD
    changes: PendingChanges = field(default_factory=PendingChanges)
    _source: Source | None = None
    _problem: str = ""
    _failures_told: set[str] = field(default_factory=set)

    def run(self, root: Path, stop: Event) -> None:
        """Index the source, then what changes in it, until `stop` is set.

        Args:
            root: the source's folder or file; a file is watched in its folder.
            stop: ends the watch.

        Raises:
            MissingSource: there is no such folder.
            Exception: what `build` raises, apart from TRIED_AGAIN and what the source is told of.
        """
        folder = Path(os.path.abspath(root if root.is_dir() else root.parent))
        if not folder.is_dir():
            raise MissingSource(root)
        observer = Observer()
        observer.schedule(_Handler(self.changes, self.home.path), str(folder), recursive=True)
        observer.start()  # before the first look, so that nothing is missed between them
        try:
            self._attempt(self._index_all, {str(folder)}, TOLD_AT_FIRST)
            while not stop.wait(LOOK_EVERY_S):
                if due := self.changes.take(time.monotonic()):
                    self._attempt(lambda due=due: self.index_changes(due), due)
        finally:
            observer.stop()
            observer.join()

    def index_changes(self, changed: set[str]) -> None:
        """Index what happened to these paths: files, or folders with all that is in them."""
        source = self._source
        if not isinstance(source, FolderSource) or source.tables or (source.options or {}).get("captions"):
            self._index_all()
            return
        exclude = (source.options or {}).get("exclude", ())
        part = changed_photos(source.root, exclude, changed)
        if str(source.root) in changed or needs_whole(changed, part):
            self._index_all()
            return
        if len(part) or part.problems:
            self._told(self.build(part, True))
        # A folder that is there may have taken the place of one with other photos.
        gone = [path for path in changed if not os.path.lexists(path) or os.path.isdir(path)]
        if self.missing != KEEP:
            self._remove(source.root, gone, part)
        self._forget_failures(part, changed, gone)

    def _index_all(self) -> None:
        self._source = self.reopen()
        self._told(self.build(self._source, False))

    def _attempt(self, step: Callable[[], None], paths: set[str], told: tuple[type[Exception], ...] = (IndexerError,)) -> None:
        problem = ""
        try:
            step()
        except (*TRIED_AGAIN, *told) as error:
            problem = str(error)
            if isinstance(error, TRIED_AGAIN):
                self.changes.put_back(paths, time.monotonic())
        if problem and problem != self._problem:
            self.tell(f"{problem}. The watch goes on.")
        self._problem = problem

    def _forget_failures(self, part: Source, changed: set[str], gone: list[str]) -> None:
        """Take out of the list of failures what changed and fails no more, and what is gone."""
        named = {PhotoUri(item.uri, item.member).uri for item in part} | {problem.uri for problem in part.problems}
        names = changed | {PhotoUri(Path(path)).uri for path in changed}
        below = tuple(prefix for path in gone for prefix in beginnings(Path(path)))
        failing = (failure.uri for failure in self.home.catalog.failures(self.name))
        mended = [uri for uri in failing if uri not in named and (uri in names or uri.startswith(below))]
        if mended:
            self.home.catalog.forget_files(self.name, mended)

    def _told(self, summary: BuildSummary) -> None:
        if summary.added or summary.removed or summary.failures:
            self.tell(
                f"version {summary.version}: {summary.added} added, {summary.removed} removed, {len(summary.failures)} failed; "
                f"{summary.images} images"
            )
            lines = [f"  {failure.reason}: {failure.sentence}" for failure in summary.failures]
            for line in lines:
                if line not in self._failures_told:
                    self.tell(line)
            self._failures_told.update(lines)

    def _remove(self, root: Path, gone: list[str], part: Source) -> None:
        """Take photos out of the collection that are not there any more, or are only another form of a photo of `part` now.

        Raises:
            MostVanished: these would be more than half of the source's.
        """
        try:
            rows = self.home.collection(self.name).open_rows() if gone or len(part) else None
        except (UnknownCollection, EmptyCollection):
            return
        if rows is None:
            return
        table = rows.image_table().select(["image_id", "uri", "source"])
        uris = {PhotoUri(Path(path)).uri for path in gone}
        below = tuple(prefix for path in gone for prefix in beginnings(Path(path)))
        own = [row for row in table.to_pylist() if row["source"] == str(root)]
        lost = [row for row in own if row["uri"] in uris or row["uri"].startswith(below)]
        lost = [row["image_id"] for row in lost if not PhotoUri.at(row["uri"]).exists()]
        second = {*other_forms(part, [row["uri"] for row in own])}
        lost += [row["image_id"] for row in own if row["uri"] in second and row["image_id"] not in lost]
        if self.missing == GUARD and len(lost) * 2 > len(own):
            raise MostVanished(str(root), len(lost), len(own))
        if lost:
            report = delete_images(self.home, self.name, lost)
            self.tell(f"version {report['version']}: {len(lost)} removed; {report['images']} images")


def changed_photos(root: Path, exclude: Iterable[str], changed: set[str]) -> Source:
    """The photos of a folder that changed, or whose texts did; only the folders of what changed are listed.

    Args:
        root: the source's folder.
        exclude: its patterns.
        changed: files and folders.
    """
    folders = {path for path in changed if os.path.isdir(path)}
    within = frozenset({*folders, *(os.path.dirname(path) for path in changed - folders)})
    listing = FolderListing(root, [*exclude], within=within)
    meant = {name for path in changed for name in names_of_photo(path)}  # by texts, and by a photo that may have been its JPEG
    inside = tuple(os.path.join(folder, "") for folder in folders)
    gone: dict[str, list[str]] = {}
    for folder, name in (os.path.split(path) for path in changed if not os.path.lexists(path)):
        gone.setdefault(folder, []).append(name)

    def concerned(path: str, own_texts: Iterable[str]) -> bool:
        names = {folded(path), folded(os.path.splitext(path)[0])}
        if path in changed or path.startswith(inside) or not changed.isdisjoint(own_texts) or not meant.isdisjoint(names):
            return True
        folder, name = os.path.split(path)
        return bool(sidecars_of([name], gone.get(folder, ())))

    def items() -> Iterator[SourceItem]:
        for file in listing:
            if concerned(file.path, [*(text.name for text in file.texts), *file.sidecars]):
                yield listed_item(file, listing)

    return Source(root, items(), listing.problems)


def needs_whole(changed: set[str], part: Source) -> bool:
    """True if some change may concern more than the photos of `part`: patterns, or a table of captions."""
    names = {folded(name) for item in part for name in (str(item.uri), os.path.splitext(item.uri)[0])}
    return any(
        os.path.basename(path) == IGNORE_FILE
        or (os.path.splitext(path)[1].lower() in TABLES and os.path.exists(path) and names.isdisjoint(names_of_photo(path)))
        for path in changed
    )


def other_forms(part: Source, uris: Iterable[str]) -> list[str]:
    """Those of these photos that are only another form of a photo of `part`, such as IMG_1.CR2 of IMG_1.JPG."""
    endings: dict[str, list[str]] = {}
    for stem, ending in (os.path.splitext(item.uri) for item in part):
        endings.setdefault(folded(stem), []).append(ending)
    split = ((uri, *os.path.splitext(uri)) for uri in uris)
    return [uri for uri, stem, ending in split if is_second_file(ending, endings.get(folded(stem), ()))]


class _Handler(FileSystemEventHandler):
    """Notes the events of a watched folder."""

    def __init__(self, changes: PendingChanges, home: Path):
        self._changes, self._home = changes, os.path.abspath(home)

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog for each event, in its thread."""
        kind = event.event_type
        path, target = os.fsdecode(event.src_path), os.fsdecode(event.dest_path or "")
        if kind == "moved":
            self._note(path, GONE)
            self._note(target, CLOSED)
        elif kind == "deleted":
            self._note(path, GONE)
        elif kind == "closed" or (kind == "created" and event.is_directory):
            self._note(path, CLOSED)
        elif kind in ("created", "modified") and not event.is_directory:
            self._note(path, WRITTEN)

    def _note(self, path: str, what: str) -> None:
        """Note what happened, apart from what indexing itself writes into a home below the folder: that would never end."""
        if path != self._home and not path.startswith(os.path.join(self._home, "")):
            self._changes.note(path, what, time.monotonic())
