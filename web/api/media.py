"""Photos and thumbnails by id. Their paths come from the collection's own records, never from a request."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from flask import Blueprint, Response, request, send_file

from encoder.inputs.image_formats import HEAD_BYTES
from search.query.query import LARGEST_ID
from storage.errors import EmptyCollection, UnknownCollection, UnknownId
from storage.photo_uri import PhotoUri
from storage.snapshot import Snapshot
from web.api.spec import Answer, describe
from web.errors import NotKept
from web.image_types import browser_type
from web.parameters import PHOTO_IN_PATH
from web.state import state

media = Blueprint("media", __name__)
NO_PHOTO = (UnknownId, UnknownCollection, EmptyCollection)
UNCHANGED = Answer(304, "Unchanged since it was fetched", media=None)


@media.get("/images/<int:image_id>")
@describe(
    Answer(200, "The photo", media="image/*"),
    Answer(206, "A part of the photo, where a range was asked for", media="image/*"),
    UNCHANGED,
    Answer(416, "A range that the file does not have", media="text/html"),
    takes=(PHOTO_IN_PATH,),
    problems=(*NO_PHOTO, NotKept),
    operation="image",
)
def original(image_id: int) -> Response:
    """The photo's own file; its thumbnail where browsers can't show the format."""
    snapshot = _snapshot_for(image_id)
    record = snapshot.images([image_id])[0]
    uri = PhotoUri.at(record.uri)
    head, file = _open_photo(uri, image_id)
    kind = browser_type(head)
    if kind is None:
        return _jpeg(snapshot.thumbnail(image_id), record.sha256)
    response = send_file(file, mimetype=kind, conditional=True, etag=record.sha256, download_name=_download_name(uri))
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@media.get("/thumbnails/<int:image_id>")
@describe(
    Answer(200, "The thumbnail", media="image/jpeg"),
    Answer(206, "A part of it, where a range was asked for", media="image/jpeg"),
    UNCHANGED,
    Answer(416, "A range that it does not have", media="text/html"),
    takes=(PHOTO_IN_PATH,),
    problems=NO_PHOTO,
)
def thumbnail(image_id: int) -> Response:
    """A small JPEG of the photo, made when it was indexed."""
    snapshot = _snapshot_for(image_id)
    return _jpeg(snapshot.thumbnail(image_id), snapshot.images([image_id])[0].sha256)


def _open_photo(uri: PhotoUri, image_id: int) -> tuple[bytes, Path | BytesIO]:
    """Open a photo's file.

    Returns:
        Its first HEAD_BYTES bytes, and what `send_file` takes: its path, or its bytes if it is in a tar.

    Raises:
        NotKept: The file is not there any more.
    """
    try:
        if uri.path.is_file():  # a pipe would be waited for
            with uri.open() as file:
                head = file.read(HEAD_BYTES)
                return head, uri.path if uri.member is None else BytesIO(head + file.read())
    except OSError:
        pass
    raise NotKept(
        f"The file of photo {image_id} is no longer where it was when it was indexed: "
        "put it back, or run `python manage.py build-index` again."
    )


def _download_name(uri: PhotoUri) -> str:
    """The file name that a browser saves the photo under, without control characters: a header can't have them."""
    name = Path(uri.member or uri.path).name
    return "".join(character if character.isprintable() else "_" for character in name)


def _snapshot_for(image_id: int) -> Snapshot:
    if image_id > LARGEST_ID:
        raise UnknownId("image", image_id)
    return state().service.snapshot()


def _jpeg(content: bytes, sha256: str) -> Response:
    response = send_file(BytesIO(content), mimetype="image/jpeg", etag=f"{sha256}-thumbnail")
    response.headers["Cache-Control"] = "private, no-cache"
    response.make_conditional(request)
    return response
