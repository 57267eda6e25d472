"""What changes a collection from within a server: the port `Editor`, and `HomeEditor`, which `serve` gives the application.

The indexer is imported only when something is changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from storage import Collection, Home, ImageRecord
from storage.errors import unusable
from storage.photo_uri import PhotoUri
from storage.segments.segment_set import SegmentSet
from storage.upload_store import UploadStore
from web.build_runner import CommandBuilds, check_free
from web.errors import NotAdded

if TYPE_CHECKING:
    from indexer import SourceCaption

ORIGIN = "add"


@dataclass(frozen=True)
class SentPhoto:
    """A photo that can be decoded: its file, how that file's name should end, and sentences about it in `language` (None: told
    by their script)."""

    content: bytes = field(repr=False)
    ending: str
    captions: list[str]
    language: str | None = None


@dataclass(frozen=True)
class AddedPhoto:
    """A photo of the published `version`; `existed` where the collection had its content before."""

    image_id: int
    version: int
    existed: bool


class Builds(Protocol):
    """Index runs in processes of their own, one at a time."""

    def start(self, collection: str, source: str) -> int:
        """Begin to build again from a source, as `build-index` was last run on it; the run's id, which the catalog knows.

        Raises UnknownSource, UnknownCollection, BuildRunning or CollectionBusy.
        """

    def cancel(self, collection: str, run_id: int) -> None:
        """Ask a run to end; it does so soon. Raises UnknownRun, BuildEnded or NotOurBuild."""

    def is_running(self, run_id: int) -> bool:
        """Whether it goes on, and can be cancelled."""

    def problem(self, run_id: int) -> str | None:
        """Why the last run ended before its time, in one line."""


class Editor(Protocol):
    """`builds`, and photos one by one."""

    builds: Builds

    def add(self, collection: str, photo: SentPhoto, encoder) -> AddedPhoto:
        """Publish a version that has the photo. Of one that is there already, captions that are new are added.

        Raises NotAdded, and what writing to a collection raises: CollectionBusy, OtherWeights, UnusableHome and others.
        """


class HomeEditor:
    """The `web.editing.Editor` of a home's collections."""

    def __init__(self, home: Home, builds: CommandBuilds):
        self.builds = builds
        self._home = home

    def add(self, collection: str, photo: SentPhoto, encoder) -> AddedPhoto:
        """See `Editor.add`. A photo whose content the collection has in a file that is still there is not kept once more."""
        from indexer.items import captions_from

        stored = self._home.create_collection(collection)
        check_free(self._home, stored)
        captions = captions_from(photo.captions, ORIGIN, photo.language)
        rows = stored.open_rows() if stored.manifest.version else SegmentSet([])
        had = rows.images(rows.with_content(hashlib.sha256(photo.content).hexdigest()))
        whole = next((record for record in had if _holds(record, photo.content)), None)
        if whole is not None:
            return self._describe(stored, rows, whole, captions, encoder)
        if had:  # its file is gone or has changed: what was said of it goes on with the one that is sent
            captions = [*_captions_of(rows, had[0].image_id), *captions]
        return self._keep(stored, photo, captions, encoder, existed=bool(had))

    def _describe(
        self, stored: Collection, rows: SegmentSet, record: ImageRecord, captions: list[SourceCaption], encoder
    ) -> AddedPhoto:
        told = {(caption.language, caption.text) for caption in _captions_of(rows, record.image_id)}
        if all((caption.language, caption.text) in told for caption in captions):
            return AddedPhoto(record.image_id, stored.manifest.version, existed=True)
        return self._index(stored, record.uri, captions, encoder, existed=True)

    def _keep(self, stored: Collection, photo: SentPhoto, captions: list[SourceCaption], encoder, existed: bool) -> AddedPhoto:
        uploads = UploadStore(stored.folder)
        try:
            path, new = uploads.keep(photo.content, photo.ending)
        except OSError as error:
            raise unusable(self._home.path, error) from error
        try:
            return self._index(stored, PhotoUri(path).uri, captions, encoder, existed)
        except BaseException:
            if new and uploads.discard(path):
                self._home.catalog.forget_files(stored.name, [PhotoUri(path).uri])
            raise

    def _index(self, stored: Collection, uri: str, captions: list[SourceCaption], encoder, existed: bool) -> AddedPhoto:
        """As `manage.py add` does."""
        from indexer import build_index
        from indexer.errors import IndexerError
        from indexer.upkeep import captioned_photos

        try:
            source = captioned_photos(self._home, stored.name, [uri], captions)
            summary = build_index(self._home, stored.name, source, encoder, workers=0, partial=True)
        except IndexerError as error:
            raise NotAdded(str(error)) from error
        if summary.failures:
            raise NotAdded(f"The photo can't be added ({summary.failures[0].reason}): try another file.")
        image_id = stored.open_rows().find([uri])[uri]
        return AddedPhoto(image_id, summary.version, existed)


def _holds(record: ImageRecord, content: bytes) -> bool:
    """Whether a photo's file is still there, and is this."""
    place = PhotoUri.at(record.uri)
    try:
        if not place.path.is_file():  # a pipe would be waited for
            return False
        with place.open() as file:
            return file.read(len(content) + 1) == content
    except OSError:
        return False


def _captions_of(rows: SegmentSet, image_id: int) -> list[SourceCaption]:
    from indexer import SourceCaption

    return [SourceCaption(one.language, one.text, one.origin) for one in rows.captions_of([image_id])[image_id]]
