"""Photos and thumbnails by id, from the collection's own records; no path ever comes from a request."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from flask import Blueprint, Response, request, send_file

from search.query.query import LARGEST_ID
from storage.errors import EmptyCollection, UnknownCollection, UnknownId
from storage.photo_uri import PhotoUri
from web.api.spec import Answer, describe
from web.errors import NotKept
from web.image_types import browser_type
from web.parameters import PHOTO_IN_PATH
from web.state import state

media = Blueprint("media", __name__)
NOT_HERE = (UnknownId, UnknownCollection, EmptyCollection)
UNCHANGED = Answer(304, "Unchanged since it was fetched", media=None)


@media.get("/images/<int:image_id>")
@describe(
    Answer(200, "The photo", media="image/*"),
    Answer(206, "A part of the photo, where a range was asked for", media="image/*"),
    UNCHANGED,
    Answer(416, "A range that the file does not have", media="text/html"),
    takes=(PHOTO_IN_PATH,),
    problems=(*NOT_HERE, NotKept),
    operation="image",
)
def original(image_id: int) -> Response:
    """The photo's own file; its thumbnail where browsers can't show the format."""
    snapshot = _snapshot_with(image_id)
    record = snapshot.images([image_id])[0]
    place = PhotoUri.at(record.uri)
    head, file = _opened(place, image_id)
    kind = browser_type(head)
    if kind is None:
        return _jpeg(snapshot.thumbnail(image_id), record.sha256)
    response = send_file(file, mimetype=kind, conditional=True, etag=record.sha256, download_name=_name(place))
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@media.get("/thumbnails/<int:image_id>")
@describe(
    Answer(200, "The thumbnail", media="image/jpeg"),
    Answer(206, "A part of it, where a range was asked for", media="image/jpeg"),
    UNCHANGED,
    Answer(416, "A range that it does not have", media="text/html"),
    takes=(PHOTO_IN_PATH,),
    problems=NOT_HERE,
)
def thumbnail(image_id: int) -> Response:
    """A small JPEG of the photo, made when it was indexed."""
    snapshot = _snapshot_with(image_id)
    return _jpeg(snapshot.thumbnail(image_id), snapshot.images([image_id])[0].sha256)


def _opened(place: PhotoUri, image_id: int) -> tuple[bytes, Path | BytesIO]:
    """The photo's first 16 bytes, and what `send_file` takes: its file, or its bytes where it lies in a tar."""
    try:
        if place.path.is_file():  # a pipe would be waited for
            with place.open() as file:
                head = file.read(16)
                return head, place.path if place.member is None else BytesIO(head + file.read())
    except OSError:
        pass
    raise NotKept(
        f"The file of photo {image_id} is no longer where it was when it was indexed: "
        "put it back, or run `python manage.py build-index` again."
    )


def _name(place: PhotoUri) -> str:
    """What a browser may call the photo when it is saved; control characters can't stand in a header."""
    name = Path(place.member or place.path).name
    return "".join(character if character.isprintable() else "_" for character in name)


def _snapshot_with(image_id: int):
    if image_id > LARGEST_ID:
        raise UnknownId("image", image_id)
    return state().service.snapshot()


def _jpeg(content: bytes, sha256: str) -> Response:
    response = send_file(BytesIO(content), mimetype="image/jpeg", etag=f"{sha256}-thumbnail")
    response.headers["Cache-Control"] = "private, no-cache"
    return response.make_conditional(request)
