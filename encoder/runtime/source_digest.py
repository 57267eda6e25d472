"""A digest of the code in Python modules, without comments, docstrings and blank lines."""

from __future__ import annotations

import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

LAYOUT = (tokenize.ENCODING, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
"""The tokens after which a statement begins."""


def code_digest(paths: Iterable[Path]) -> str:
    """The SHA-256 of the names and the code of modules, in this order, as 64 hex digits.

    The text is hashed rather than the tokens, so that the digest is the same with every version of Python.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\n{code_of(path.read_bytes())}\n\n".encode())
    return digest.hexdigest()


@cache  # several digests of a process are of the same modules
def code_of(source: bytes) -> str:
    """The text of a module without comments, blank lines (also within strings), and strings that are a whole statement."""
    tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
    encoding = tokens[0].string
    lines = io.TextIOWrapper(io.BytesIO(source), encoding).read().splitlines()
    for token in reversed([*_removable(tokens)]):  # from the end, so that the positions of earlier tokens stay right
        (first, start), (last, end) = token.start, token.end
        lines[first - 1 : last] = [lines[first - 1][:start] + lines[last - 1][end:]]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _removable(tokens: list[tokenize.TokenInfo]) -> Iterator[tokenize.TokenInfo]:
    """The comments, and the strings that are a whole statement."""
    tokens = [token for token in tokens if token.type != tokenize.NL]
    before = tokens[0]
    for at, token in enumerate(tokens):
        if token.type == tokenize.COMMENT:
            yield token
            continue
        if token.type == tokenize.STRING and before.type in LAYOUT and _ends(tokens, at + 1):
            yield token
        before = token


def _ends(tokens: list[tokenize.TokenInfo], at: int) -> bool:
    """True if only a comment follows in the statement."""
    return next(token.type for token in tokens[at:] if token.type != tokenize.COMMENT) in (tokenize.NEWLINE, tokenize.ENDMARKER)
