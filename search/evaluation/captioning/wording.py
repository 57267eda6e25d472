"""What a look at written captions shows without any reference: pure functions over lists of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from search.evaluation.captioning.tokens import Tokens

REPEATS = 3


def repeats_a_word(tokens: Tokens) -> bool:
    """True if a word stands REPEATS times or more in a row."""
    return any(sum(1 for _ in same) >= REPEATS for _, same in groupby(tokens))


def distinct(written: Sequence[Tokens]) -> int:
    """The number of different captions among those that aren't empty."""
    return len({tuple(tokens) for tokens in written if tokens})
