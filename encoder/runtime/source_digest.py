"""What Python modules say to Python: their text without comments, docstrings and blank lines."""

from __future__ import annotations

import hashlib
import io
import tokenize
from collections.abc import Iterable
from pathlib import Path

LAYOUT = (tokenize.ENCODING, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
"""After one of these a statement begins."""


def code_digest(paths: Iterable[Path]) -> str:
    """The SHA-256, in hexadecimal, of the code in these modules, each under its file's name, in this order.

    It is the same with every version of Python, for the text that is left is hashed, not the tokens.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\n{code_of(path.read_bytes())}\n\n".encode())
    return digest.hexdigest()


def code_of(source: bytes) -> str:
    """A module's text without comments, without strings that stand alone as a statement, and without blank lines, also those
    within a string."""
    tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
    encoding = tokens[0].string
    lines = io.TextIOWrapper(io.BytesIO(source), encoding).read().splitlines()
    for token in reversed([*_unsaid(tokens)]):  # from the end, so that what comes before stays where it is
        (first, start), (last, end) = token.start, token.end
        lines[first - 1 : last] = [lines[first - 1][:start] + lines[last - 1][end:]]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _unsaid(tokens: list[tokenize.TokenInfo]):
    """The comments, and the strings that are a statement of their own."""
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
    """Whether the statement is over here, but for a comment."""
    return next(token.type for token in tokens[at:] if token.type != tokenize.COMMENT) in (tokenize.NEWLINE, tokenize.ENDMARKER)
