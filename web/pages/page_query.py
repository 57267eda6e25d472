"""The query of a page: words, a photo that was sent, a photo of the collection, or words with either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import url_for

from search import Query
from web.pages.links import link
from web.parameters import LIKE, search_options
from web.photo_urls import photo_urls
from web.uploads import KeptPhoto, KeptPhotos

PAGE_SIZE = 24


@dataclass(frozen=True)
class PageQuery:
    """The query of a page.

    Attributes:
        text: The words.
        like: The id of a photo of the collection.
        sent: The token of a photo that was sent.
        photo: That photo.
    """

    text: str = ""
    like: int | None = None
    sent: str | None = None
    photo: KeptPhoto | None = field(default=None, repr=False)

    @classmethod
    def of(cls, values: Mapping[str, str], photos: KeptPhotos, like: int | None = None, sent: str | None = None) -> PageQuery:
        """Read the query from a request's parameters; `like` and `sent` take the place of the parameters of that name.

        Raises:
            NotKept: The photo that was sent is no longer kept.
        """
        like = LIKE.read(values) if like is None else like
        sent = sent or values.get("sent")
        return cls(values.get("q", "").strip(), like, sent, photos.get(sent) if sent else None)

    def __bool__(self) -> bool:
        return bool(self.text) or self.has_photo

    @property
    def has_photo(self) -> bool:
        """True if the query has a photo, of either kind."""
        return self.like is not None or self.sent is not None

    @property
    def name(self) -> str | None:
        """The file name of the photo that was sent."""
        return self.photo.name if self.photo else None

    @property
    def photo_url(self) -> str | None:
        """The address of a small picture of the query's photo; None if it has none."""
        if self.sent is not None:
            return url_for("pages.preview", token=self.sent)
        return None if self.like is None else photo_urls(self.like)["thumbnail_url"]

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that carry the query to the page of one of its hits."""
        return {"q": self.text or None, "like": self.like, "sent": self.sent}

    def query(self, values: Mapping[str, str], **changes: Any) -> Query:
        """The `search.Query`, with the options of a request and with changes to them.

        Raises:
            BadParameter: An option can't be read.
            BadQuery: The query can't be answered (see `search.Query`).
        """
        photo: dict[str, Any] = {} if self.photo is None else {"image": self.photo.prepared, "label": self.photo.name}
        return Query(text=self.text or None, image_id=self.like, **photo, **search_options(values, top=PAGE_SIZE) | changes)

    def address(self, **options: Any) -> str:
        """The address of the page of its results."""
        if self.sent is not None:
            return link("pages.by_kept_image", token=self.sent, q=self.text or None, **options)
        if self.like is not None:
            return link("pages.similar", image_id=self.like, q=self.text or None, **options)
        return link("pages.index", q=self.text or None, **options)

    @property
    def path(self) -> str:
        """The address of the results without parameters: a form sends other words there."""
        return self.address().partition("?")[0]
