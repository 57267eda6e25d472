"""The cursor of the next page: a token that is valid for one query on one version of a collection."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from search.errors import BadCursor, OutdatedCursor
from search.query.query import LARGEST_ID, Query

LONGEST = 200


def write_cursor(query: Query, version: int, offset: int, reranked: int) -> str:
    """Write the token for the hits after the first `offset`.

    Args:
        query: the query, whatever its cursor and its page.
        version: the version of the collection.
        offset: the number of hits before the page.
        reranked: how many candidates were re-ranked, which decides on the order.
    """
    content = json.dumps([version, offset, reranked, _short_digest(query)], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def read_cursor(token: str, query: Query, version: int) -> tuple[int, int]:
    """Read a token: the offset of the page, and how many candidates to re-rank.

    Raises:
        BadCursor: this is no cursor, or it belongs to another query.
        OutdatedCursor: it belongs to another version of the collection, where the list is another one.
    """
    cursor_version, offset, reranked, digest = _content(token)
    if digest != _short_digest(query):
        raise BadCursor("The cursor belongs to another question: ask with the very parameters that it came with.")
    if cursor_version != version:
        raise OutdatedCursor(cursor_version, version)
    return offset, min(reranked, query.rerank)


def digest_of(query: Query) -> str:
    """Hash all that decides on the order of the list, except the budget. Size and offset of the page take no part."""
    content = [[term.as_json() for term in query.terms], query.to, query.where, query.rerank, query.fold, query.mode]
    digest = hashlib.sha256(json.dumps(content).encode())
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
    version, offset, reranked, digest = content
    return version, offset, reranked, digest


def _short_digest(query: Query) -> str:
    return digest_of(query)[:16]
