"""Adds the addresses of its photos to a result's JSON."""

from __future__ import annotations

from flask import url_for


def with_photo_urls(answer: dict) -> dict:
    """A result's `as_json()` with `thumbnail_url` and `image_url` on every photo in it."""
    hits = [_hit_with_urls(hit) for hit in answer["hits"]]
    return answer | {"hits": hits}


def photo_urls(image_id: int) -> dict[str, str]:
    """The addresses of a photo of the collection and of its thumbnail."""
    return {
        "thumbnail_url": url_for("media.thumbnail", image_id=image_id),
        "image_url": url_for("media.original", image_id=image_id),
    }


def _hit_with_urls(hit: dict) -> dict:
    if "image" in hit:
        return hit | {"image": hit["image"] | photo_urls(hit["image"]["id"])}
    return hit | photo_urls(hit["id"])
