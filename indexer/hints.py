"""What to do about an error of this room, for the command line. Each hint follows the error's message and a colon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from indexer.errors import (
    FORMATS,
    AmbiguousSource,
    BadAnnotations,
    BadManifestLine,
    BadPattern,
    EmptySource,
    IndexerError,
    MismatchedLanguages,
    MissingSource,
    MostVanished,
    PhotosGone,
    SeveralSplits,
    UnknownColumns,
    UnknownFormat,
    UnknownSplit,
)


def _ambiguous(error: AmbiguousSource) -> str:
    first = error.path / error.names[0]
    return f"name one, as in `python manage.py build-index {first}`, or give --format folder to index its photos"


def _unknown_format(error: UnknownFormat) -> str:
    what = error.remedy or f"give --format one of {', '.join(FORMATS)}"
    return f"{what}, {_other_format(error)}" if error.other_format else what


def _other_format(error: IndexerError) -> str | None:
    return f"or give --format {error.other_format}, which fits what is there" if error.other_format else None


HINTS: dict[type[Exception], Callable[[Any], str | None]] = {
    AmbiguousSource: _ambiguous,
    BadAnnotations: _other_format,
    BadManifestLine: _other_format,
    EmptySource: _other_format,
    BadPattern: lambda error: "mend --exclude",
    MismatchedLanguages: lambda error: "give --lang once, or once for each --captions",
    MissingSource: lambda error: (
        "name a folder of photos, a COCO folder, a manifest or tar shards in `python manage.py build-index SOURCE`"
    ),
    MostVanished: lambda error: "if that is meant, add --drop-missing; to keep them searchable, add --keep-missing",
    PhotosGone: lambda error: "put them back, or name a captioner of the collection's own model with --captioner",
    SeveralSplits: lambda error: "choose with --split, once or several times; --split all mixes them",
    UnknownColumns: lambda error: "name its columns with --image-column and --caption-column",
    UnknownFormat: _unknown_format,
    UnknownSplit: lambda error: "name one of them with --split" if error.there else "do without --split",
}
