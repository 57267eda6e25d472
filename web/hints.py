"""What to do about an error of another room, for those who ask this server: few of them can run a command on its machine."""

from __future__ import annotations

from encoder.errors import BadGraphs, NoInt8Graphs
from search import StaleIndex
from storage.errors import (
    BrokenIndex,
    BrokenManifest,
    BrokenSegment,
    BrokenTexts,
    CatalogError,
    EmptyCollection,
    OtherWeights,
    UnfinishedRun,
    UnknownCollection,
    UnknownId,
    UnusableHome,
)

REPAIR = "whoever runs this server can mend it with `python manage.py repair`"

HINTS: dict[type[Exception], str] = {
    BadGraphs: "whoever runs this server can make them anew with `python manage.py model export MODEL`",
    BrokenIndex: REPAIR,
    BrokenManifest: REPAIR,
    BrokenSegment: REPAIR,
    BrokenTexts: REPAIR,
    CatalogError: "whoever runs this server has to look at its catalog",
    EmptyCollection: "whoever runs this server can index photos with `python manage.py build-index SOURCE`",
    NoInt8Graphs: "whoever runs this server can make them with `python manage.py model quantize MODEL`",
    OtherWeights: "whoever runs this server has to start it with that model, or to index the collection anew",
    StaleIndex: "whoever runs this server has to start it with that model, or to index the collection anew",
    UnfinishedRun: "build its source again to finish it",
    UnknownCollection: "see the collections that there are, or make it with `python manage.py build-index SOURCE`",
    UnknownId: "it may have been deleted; search again",
    UnusableHome: "whoever runs this server has to make room there, or let it be written to",
}


def message_of(error: Exception) -> str:
    """The error's message and, where there is one, what to do."""
    hint = next((hint for kind, hint in HINTS.items() if isinstance(error, kind)), None)
    return str(error) if hint is None else f"{error}: {hint}."
