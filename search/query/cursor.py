"""Where the next page begins: a token that is good for one question on one version of a collection."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from search.errors import BadCursor, OutdatedCursor
from search.query.query import LARGEST_ID, Query

LONGEST = 200


def write_cursor(query: Query, version: int, offset: int, reranked: int) -> str:
    """The token for the hits of `query` after the first `offset`, in the order that re-ranking the first `reranked` gave."""
    content = json.dumps([version, offset, reranked, _short(query)], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def read_cursor(token: str, query: Query, version: int) -> tuple[int, int]:
    """The offset that a token stands for, and how many were re-ranked.

    Raises BadCursor for what is none, or belongs to another question, and OutdatedCursor where the collection has changed:
    on another version the list is another one.
    """
    seen, offset, reranked, digest = _content(token)
    if digest != _short(query):
        raise BadCursor("The cursor belongs to another question: ask with the very parameters that it came with.")
    if seen != version:
        raise OutdatedCursor(seen, version)
    return offset, min(reranked, query.rerank)


def digest_of(query: Query) -> str:
    """A hash of all that decides on the order of a list but the budget, and of nothing else: a page may be of any size."""
    asked = [[term.as_json() for term in query.terms], query.to, query.where, query.rerank, query.fold, query.mode]
    digest = hashlib.sha256(json.dumps(asked).encode())
    if query.image is not None:
        digest.update(query.image.tobytes())
    return digest.hexdigest()


def _content(token: str) -> tuple[int, int, int, str]:
    unreadable = BadCursor("That is no cursor: take the one that came with the page before, or none for the first page.")
    if len(token) > LONGEST or not token.isascii():
        raise unreadable
    try:
        content = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise unreadable from error
    if not isinstance(content, list) or [type(part) for part in content] != [int, int, int, str]:
        raise unreadable
    if not all(0 <= number <= LARGEST_ID for number in content[1:3]):
        raise unreadable
    return tuple(content)


def _short(query: Query) -> str:
    return digest_of(query)[:16]
