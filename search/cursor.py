"""Where the next page begins: a token that is good for one question on one version of a collection."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from .errors import BadCursor, OutdatedCursor
from .query import LARGEST_ID, Query

LONGEST = 200


def write_cursor(query: Query, version: int, offset: int) -> str:
    """The token for the hits of `query` after the first `offset`."""
    content = json.dumps([version, offset, _digest(query)], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def read_cursor(token: str, query: Query, version: int) -> int:
    """The offset that a token stands for.

    Raises BadCursor for what is none, or belongs to another question, and OutdatedCursor where the collection has changed:
    on another version the list is another one.
    """
    seen, offset, digest = _content(token)
    if digest != _digest(query):
        raise BadCursor("The cursor belongs to another question: ask with the very parameters that it came with.")
    if seen != version:
        raise OutdatedCursor(seen, version)
    return offset


def _content(token: str) -> tuple[int, int, str]:
    unreadable = BadCursor("That is no cursor: take the one that came with the page before, or none for the first page.")
    if len(token) > LONGEST or not token.isascii():
        raise unreadable
    try:
        content = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise unreadable from error
    if not isinstance(content, list) or [type(part) for part in content] != [int, int, str]:
        raise unreadable
    if not 0 <= content[1] <= LARGEST_ID:
        raise unreadable
    return tuple(content)


def _digest(query: Query) -> str:
    """A hash of all that decides on the order of a list, and of nothing else: a page may be of any size."""
    asked = [[term.as_json() for term in query.terms], query.to, query.where, query.rerank, query.fold, query.mode]
    digest = hashlib.sha256(json.dumps(asked).encode())
    if query.image is not None:
        digest.update(query.image.tobytes())
    return digest.hexdigest()[:16]
