"""What the commands that index have in common: running with a progress bar, reporting, exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storage.console import bar, print_lines, say

if TYPE_CHECKING:
    from encoder.api import BulkEncoder
    from indexer.build import BuildSummary
    from indexer.items import Failure
    from indexer.sources.base import Source
    from storage.home import Home


def index_source(
    source: Source,
    limit: int | None,
    rebuild: bool,
    workers: int | None,
    home: Home,
    collection: str,
    encoder: BulkEncoder,
    quiet: bool = False,
    **options: Any,
) -> BuildSummary:
    """Index an open source with a progress bar, which `quiet` leaves out; `options` are more options of `build_index`."""
    from indexer import build_index as build

    with bar("photos", quiet) as progress:
        return build(
            home, collection, source, encoder, limit=limit, rebuild=rebuild, workers=workers, progress=progress, **options
        )


def watch_source(
    source: Path,
    reopen: Callable[[], Source],
    home: Home,
    collection: str,
    encoder: BulkEncoder,
    workers: int | None,
    missing: str,
) -> None:
    """Index a source and what changes in it, with a line for each change, until the process is stopped."""
    from threading import Event

    from indexer.watching import Watch

    def build(part: Source, partial: bool) -> BuildSummary:
        return index_source(part, None, False, workers, home, collection, encoder, True, missing=missing, partial=partial)

    click.echo(f"Watching {source} for {collection}; Ctrl-C ends it.")
    Watch(home, collection, reopen, build, lambda line: print_lines([line]), missing).run(source, Event())


def say_preview(home: Home, collection: str, source: Source, limit: int | None, missing: str, as_json: bool) -> None:
    """Print what `build-index` would do; exit with 2 if it would refuse, with 3 if something in the source can't be used."""
    from indexer.preview import preview, preview_json, preview_lines

    found = preview(home, collection, source, limit, missing)
    say(preview_json(found, collection), lambda _: preview_lines(found, collection), as_json)
    sys.exit(2 if found.refused else 3 if found.problems or found.missing.count else 0)


def text_read(home: Home, collection: str, quiet: bool, limit: int | None = None) -> dict[str, Any]:
    """Read the text in photos with a progress bar, which `quiet` leaves out; the report."""
    from indexer.text_reader import TextReader
    from indexer.text_reading import read_texts

    with bar("photos", quiet) as progress:
        return read_texts(home, collection, TextReader, progress, limit)


def text_report(report: dict[str, Any]) -> Iterable[str]:
    """The lines of a report of `text_read`."""
    from indexer.text_reading import text_lines

    return text_lines(report)


def refuse_with(option: str, others: dict[str, Any]) -> None:
    """Refuse options that another one would pass over; None stands for one that was not given."""
    if given := [f"--{name}" for name, value in others.items() if value is not None]:
        raise click.UsageError(f"--{option} goes without {', '.join(given)}: run that by itself")


def print_summary(summary: BuildSummary, collection: str) -> None:
    """Print what an index run did."""
    from indexer.report import summary_lines

    print_lines(summary_lines(summary, collection))
    print_failures(summary.failures)


def print_failures(failures: Sequence[Failure]) -> None:
    """Print, on standard error, what could not be used."""
    from indexer.report import failure_lines

    print_lines(failure_lines(failures), err=True)


def exit_without_images(summary: BuildSummary) -> None:
    """Exit with 2 if the collection is empty after a run."""
    if not summary.images:
        click.echo(
            f"Error: none of the {len(summary.failures)} photos could be read; mend them or name another source.", err=True
        )
        sys.exit(2)


def exit_with_failures(summary: BuildSummary) -> None:
    """Exit with 3 if something could not be read."""
    exit_without_images(summary)
    if summary.failures:
        sys.exit(3)
