"""What a page is about: words, a photo that was sent, a photo of the collection, or words with either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flask import url_for

from search import Query
from web.pages.links import link
from web.parameters import LIKE, search_options
from web.photo_urls import photo_urls
from web.uploads import KeptPhoto, KeptPhotos

PAGE_SIZE = 24


@dataclass(frozen=True)
class PageQuery:
    """`like` is the id of a photo of the collection, `sent` the token of one that was sent, `photo` that one itself."""

    text: str = ""
    like: int | None = None
    sent: str | None = None
    photo: KeptPhoto | None = field(default=None, repr=False)

    @classmethod
    def of(cls, values: Mapping[str, str], photos: KeptPhotos, like: int | None = None, sent: str | None = None) -> PageQuery:
        """What the parameters of a request ask; raises NotKept where they name a photo that is no longer kept."""
        like = LIKE.read(values) if like is None else like
        sent = sent or values.get("sent")
        return cls(values.get("q", "").strip(), like, sent, photos.get(sent) if sent else None)

    def __bool__(self) -> bool:
        return bool(self.text) or self.has_photo

    @property
    def has_photo(self) -> bool:
        return self.like is not None or self.sent is not None

    @property
    def name(self) -> str | None:
        """What the sent photo's file was called."""
        return self.photo.name if self.photo else None

    @property
    def photo_url(self) -> str | None:
        """Where the photo that was asked with can be seen, small."""
        if self.sent is not None:
            return url_for("pages.preview", token=self.sent)
        return None if self.like is None else photo_urls(self.like)["thumbnail_url"]

    @property
    def within(self) -> dict:
        """The parameters that carry the question to the page of one of its hits."""
        return {"q": self.text or None, "like": self.like, "sent": self.sent}

    def query(self, values: Mapping[str, str], **changes: object) -> Query:
        """The query, with the options that a request gives and with changes to them."""
        photo = {} if self.photo is None else {"image": self.photo.prepared, "label": self.photo.name}
        return Query(text=self.text or None, image_id=self.like, **photo, **search_options(values, top=PAGE_SIZE) | changes)

    def address(self, **options: object) -> str:
        """The page of its results."""
        if self.sent is not None:
            return link("pages.by_kept_image", token=self.sent, q=self.text or None, **options)
        if self.like is not None:
            return link("pages.similar", image_id=self.like, q=self.text or None, **options)
        return link("pages.index", q=self.text or None, **options)

    @property
    def path(self) -> str:
        """The same without parameters: where a form sends other words to."""
        return self.address().partition("?")[0]
