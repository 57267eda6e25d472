"""What `serve` gives a server to change collections with: the indexer for photos one by one, the command for whole builds."""

from __future__ import annotations

import hashlib

from builds import CommandBuilds, check_free
from indexer import SourceCaption, build_index
from indexer.errors import IndexerError
from indexer.items import captions_from
from indexer.upkeep import captioned_photos
from storage import Collection, Home, ImageRecord
from storage.errors import unusable
from storage.places import Place
from storage.segment_set import SegmentSet
from storage.uploads import Uploads
from web.editing import AddedPhoto, SentPhoto
from web.errors import NotAdded

ORIGIN = "add"


class HomeEditor:
    """The `web.editing.Editor` of a home's collections."""

    def __init__(self, home: Home, builds: CommandBuilds):
        self.builds = builds
        self._home = home

    def add(self, collection: str, photo: SentPhoto, encoder) -> AddedPhoto:
        """See `Editor.add`. A photo whose content the collection has in a file that is still there is not kept once more."""
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

    def _keep(
        self, stored: Collection, photo: SentPhoto, captions: list[SourceCaption], encoder, existed: bool
    ) -> AddedPhoto:
        uploads = Uploads(stored.folder)
        try:
            path, new = uploads.keep(photo.content, photo.ending)
        except OSError as error:
            raise unusable(self._home.path, error) from error
        try:
            return self._index(stored, Place(path).uri, captions, encoder, existed)
        except BaseException:
            if new and uploads.discard(path):
                self._home.catalog.forget_files(stored.name, [Place(path).uri])
            raise

    def _index(self, stored: Collection, uri: str, captions: list[SourceCaption], encoder, existed: bool) -> AddedPhoto:
        """As `manage.py add` does."""
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
    place = Place.at(record.uri)
    try:
        if not place.path.is_file():  # a pipe would be waited for
            return False
        with place.open() as file:
            return file.read(len(content) + 1) == content
    except OSError:
        return False


def _captions_of(rows: SegmentSet, image_id: int) -> list[SourceCaption]:
    return [SourceCaption(one.language, one.text, one.origin) for one in rows.captions_of([image_id])[image_id]]
