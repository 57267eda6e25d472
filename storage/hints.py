"""What to do about an error of this room, for the command line. Each hint follows the error's message and a colon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from storage.errors import (
    BrokenIndex,
    BrokenManifest,
    BrokenSegment,
    BrokenTexts,
    CatalogError,
    EmptyCollection,
    NoSuchSource,
    OtherWeights,
    UnfinishedRun,
    UnknownCollection,
    UnknownId,
    UnknownVersion,
    UnusableHome,
)

BUILD = "python manage.py build-index SOURCE"


def _repair(what: str) -> str:
    return f"restore that {what}, or run `python manage.py repair` (or else `{BUILD} --rebuild`)"


def _other_weights(error: OtherWeights) -> str:
    reranked = " and --reranker" if "+" in error.indexed else " and no --reranker" if "+" in error.current else ""
    return f"choose their model with --model{reranked}, or run `{BUILD} --collection {error.name} --rebuild`"


HINTS: dict[type[Exception], Callable[[Any], str]] = {
    BrokenIndex: lambda error: _repair("file"),
    BrokenManifest: lambda error: _repair("file"),
    BrokenSegment: lambda error: _repair("folder"),
    BrokenTexts: lambda error: "run `python manage.py repair`, then `python manage.py read-text`",
    CatalogError: lambda error: (
        f"check PANOPTES_CATALOG, or move that database away and run `{BUILD}` (what is indexed stays and is not encoded anew)"
    ),
    EmptyCollection: lambda error: f"run `{BUILD} --collection {error.name}`",
    NoSuchSource: lambda error: "name one as `python manage.py sources` lists it",
    OtherWeights: _other_weights,
    UnfinishedRun: lambda error: "run the same build-index again to finish it, or add --drop-unfinished to lose them",
    UnknownCollection: lambda error: f"make it with `{BUILD} --collection {error.name}`",
    UnknownId: lambda error: "ids come from `python manage.py search QUERY --json`",
    UnknownVersion: lambda error: "`python manage.py versions` lists them",
    UnusableHome: lambda error: "make room there or let it be written to, or name another folder with `--home FOLDER`",
}
