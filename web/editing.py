"""Changes a collection from within a server: the protocol `Editor`, and `HomeEditor`, which `serve` gives the application.

The indexer is imported only when something is changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Protocol

from storage import CaptionRecord, Collection, Home, ImageRecord
from storage.errors import unusable
from storage.origins import GENERATED
from storage.photo_uri import PhotoUri
from storage.segments.segment_set import SegmentSet
from storage.upload_store import CHUNK_BYTES, UploadStore, digest_of
from web.build_runner import CommandBuilds, check_free
from web.errors import NotAdded

if TYPE_CHECKING:
    from encoder.api import BulkEncoder, CaptionWriter
    from indexer import SourceCaption

ORIGIN = "add"


@dataclass(frozen=True)
class SentPhoto:
    """A photo that can be decoded, as it was sent.

    Attributes:
        file: Its file, which is read from the beginning.
        ending: The ending for the file's name, such as ".jpg".
        captions: Sentences about the photo.
        language: Their language; None: told by their script.
    """

    file: IO[bytes] = field(repr=False)
    ending: str
    captions: list[str]
    language: str | None = None


@dataclass(frozen=True)
class AddedPhoto:
    """A photo of the published `version`; `existed` is true if the collection had its content before."""

    image_id: int
    version: int
    existed: bool


@dataclass(frozen=True)
class StoredCaption:
    """A caption of the published `version`; `existed` is true if the collection had it before."""

    caption: CaptionRecord
    version: int
    existed: bool


class Builds(Protocol):
    """Index runs in processes of their own, one at a time."""

    def start(self, collection: str, source: str) -> int:
        """Start to build again from a source, as `build-index` was last run on it.

        Returns:
            The run's id in the catalog.

        Raises:
            UnknownCollection: There is no such collection.
            UnknownSource: It was never built from that source.
            BuildRunning, CollectionBusy: Another build, or another process, writes to it.
        """
        ...

    def cancel(self, collection: str, run_id: int) -> None:
        """Ask a run to end; it does so soon.

        Raises:
            UnknownRun: The catalog has no such run.
            BuildEnded: It has ended.
            NotOurBuild: Another process began it.
        """
        ...

    def is_running(self, run_id: int) -> bool:
        """True if the run goes on and can be cancelled."""
        ...

    def problem(self, run_id: int) -> str | None:
        """Why the last run failed, in one line; None if it did not."""
        ...


class Editor(Protocol):
    """Changes collections: by builds, and photo by photo."""

    @property
    def builds(self) -> Builds:
        """The index runs that this server can start."""
        ...

    def add(self, collection: str, photo: SentPhoto, encoder: BulkEncoder) -> AddedPhoto:
        """Publish a version that has the photo. If it is there already, add the captions that are new.

        Raises:
            NotAdded: The photo can't be added.
            StorageError: Writing failed, such as CollectionBusy, OtherWeights and UnusableHome.
        """
        ...

    def add_caption(self, collection: str, image_id: int, text: str, language: str | None, encoder: BulkEncoder) -> AddedPhoto:
        """Publish a version in which a photo has one more caption; the photo gets another id.

        Raises:
            UnknownId: There is no such photo.
            NotAdded: The photo's file is gone or has changed.
            StorageError: Writing failed.
        """
        ...

    def write_caption(
        self, collection: str, image_id: int, writer: CaptionWriter, language: str, beams: int, encoder: BulkEncoder
    ) -> StoredCaption:
        """Have a caption of a photo written, and publish a version that has it, unless it is there.

        Raises:
            UnknownId: There is no such photo.
            NotAdded: The captioner needs the photo's file, which can't be read.
            UnwrittenLanguage: The captioner doesn't write this language.
            StorageError: Writing failed.
        """
        ...


class HomeEditor:
    """The `web.editing.Editor` of a home's collections."""

    def __init__(self, home: Home, builds: CommandBuilds) -> None:
        self.builds = builds
        self._home = home

    def add(self, collection: str, photo: SentPhoto, encoder: BulkEncoder) -> AddedPhoto:
        """See `Editor.add`. A photo is not kept again if a file that is still there has the same content."""
        from indexer.items import captions_from

        stored = self._home.create_collection(collection)
        check_free(self._home, stored)
        captions = captions_from(photo.captions, ORIGIN, photo.language)
        rows = stored.open_rows() if stored.manifest.version else SegmentSet([])
        same = rows.images(rows.with_content(digest_of(photo.file)))
        intact = next((record for record in same if _has_content(record, photo.file)), None)
        if intact is not None:
            return self._add_captions(stored, rows, intact, captions, encoder)
        if same:  # its file is gone or has changed: its captions go on with the one that is sent
            captions = [*_captions_of(rows, same[0].image_id), *captions]
        return self._keep(stored, photo, captions, encoder, existed=bool(same))

    def add_caption(self, collection: str, image_id: int, text: str, language: str | None, encoder: BulkEncoder) -> AddedPhoto:
        """See `Editor.add_caption`."""
        from indexer.items import captions_from

        stored = self._home.collection(collection)
        check_free(self._home, stored)
        rows = stored.open_rows()
        record = rows.images([image_id])[0]
        return self._add_captions(stored, rows, record, captions_from([text], ORIGIN, language), encoder)

    def write_caption(
        self, collection: str, image_id: int, writer: CaptionWriter, language: str, beams: int, encoder: BulkEncoder
    ) -> StoredCaption:
        """See `Editor.write_caption`."""
        from indexer.captioning import Wanted, write_captions
        from indexer.errors import IndexerError

        stored = self._home.collection(collection)
        check_free(self._home, stored)
        stored.open_rows().images([image_id])
        try:
            report = write_captions(self._home, collection, encoder, writer, Wanted(language, beams, where=f"id = {image_id}"))
        except IndexerError as error:
            raise NotAdded(f"{error}.") from error
        own = stored.open_rows().captions_of([image_id])[image_id]
        origin = GENERATED + writer.fingerprint
        caption = next(one for one in own if (one.origin, one.language) == (origin, language))
        return StoredCaption(caption, report["version"], existed=not report["changed"])

    def _add_captions(
        self, stored: Collection, rows: SegmentSet, record: ImageRecord, captions: list[SourceCaption], encoder: BulkEncoder
    ) -> AddedPhoto:
        known = {(caption.language, caption.text) for caption in _captions_of(rows, record.image_id)}
        if all((caption.language, caption.text) in known for caption in captions):
            return AddedPhoto(record.image_id, stored.manifest.version, existed=True)
        return self._index(stored, record.uri, captions, encoder, existed=True)

    def _keep(
        self, stored: Collection, photo: SentPhoto, captions: list[SourceCaption], encoder: BulkEncoder, existed: bool
    ) -> AddedPhoto:
        """Store the photo's file, and index it; if that fails, take the file away again."""
        uploads = UploadStore(stored.folder)
        try:
            path, new = uploads.keep(photo.file, photo.ending)
        except OSError as error:
            raise unusable(self._home.path, error) from error
        try:
            return self._index(stored, PhotoUri(path).uri, captions, encoder, existed)
        except BaseException:
            if new and uploads.discard(path):
                self._home.catalog.forget_files(stored.name, [PhotoUri(path).uri])
            raise

    def _index(
        self, stored: Collection, uri: str, captions: list[SourceCaption], encoder: BulkEncoder, existed: bool
    ) -> AddedPhoto:
        """Index one photo as `manage.py add` does."""
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


def _has_content(record: ImageRecord, content: IO[bytes]) -> bool:
    """True if the image's file is still there and has this content."""
    uri = PhotoUri.at(record.uri)
    try:
        if not uri.path.is_file():  # a pipe would be waited for
            return False
        with uri.open() as file:
            return _are_same(file, content)
    except OSError:
        return False


def _are_same(one: IO[bytes], other: IO[bytes]) -> bool:
    other.seek(0)
    while (part := one.read(CHUNK_BYTES)) == other.read(CHUNK_BYTES):
        if not part:
            return True
    return False


def _captions_of(rows: SegmentSet, image_id: int) -> list[SourceCaption]:
    from indexer import SourceCaption

    return [SourceCaption(one.language, one.text, one.origin) for one in rows.captions_of([image_id])[image_id]]
