"""What to do about an error of this room, for the command line. Each hint follows the error's message and a colon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from search.errors import (
    BadCaptionsFile,
    BadRun,
    ProxyReadsToken,
    Redirected,
    StaleIndex,
    TooFewForProtocol,
    TooFewPhotos,
    Unreachable,
)


def _stale_index(error: StaleIndex) -> str:
    reranked, reranks = "+" in error.made_by, "+" in error.in_use
    if error.options:
        choose = f"choose them with {error.options}"
    elif reranked:
        choose = "choose their model with --model and their re-ranker with --reranker"
    else:
        choose = "choose their model with --model" + (" and no --reranker" if reranks else "")
    return f"{choose}, or run `python manage.py build-index SOURCE --rebuild` to move it to those in use"


HINTS: dict[type[Exception], Callable[[Any], str]] = {
    BadCaptionsFile: lambda error: 'take a JSON list such as [{"image_id": 42, "caption": "a red boat"}], as COCO has results',
    BadRun: lambda error: "take files that `evaluate --run FILE --qrels FILE` wrote",
    ProxyReadsToken: lambda error: "ask by https://, or name the server's host in no_proxy to ask it directly",
    Redirected: lambda error: "give that address with --server if it is yours",
    StaleIndex: _stale_index,
    TooFewForProtocol: lambda error: "measure with --protocol all",
    TooFewPhotos: lambda error: (
        f"--absent {error.captioned // 2} is the most" if error.captioned > 1 else "do without --absent"
    ),
    Unreachable: lambda error: "check the address, and that `python manage.py serve` runs there",
}
