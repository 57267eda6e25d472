"""What an index run did, as lines of text and as JSON values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from indexer.build import BuildSummary
from indexer.items import Failure
from storage.status import unused_lines

FAILURES_SHOWN = 20


def summary_lines(summary: BuildSummary, collection: str) -> Iterator[str]:
    """Lines about what the collection holds now and what the run did; `failure_lines` has the failures."""
    if not (summary.added or summary.removed or summary.failures):
        yield f"Nothing is new: {collection} stays at version {summary.version}."
    instead = f" ({summary.replaced} of them in place of others)" if summary.replaced else ""
    yield (
        f"{summary.images} images and {summary.captions} captions in {collection}, version {summary.version}: "
        f"{summary.added} added{instead}, {summary.unchanged} unchanged, {summary.removed} removed, "
        f"{len(summary.failures)} failed; "
        f"{summary.seconds:.1f} s, {summary.images_per_second:.1f} images/s"
    )
    yield from unused_lines(summary.unused)


def failure_lines(failures: Sequence[Failure]) -> Iterator[str]:
    """A line for each of the first failures, and how many more there are."""
    for failure in failures[:FAILURES_SHOWN]:
        yield f"  {failure.reason}: {failure.sentence}"
    if len(failures) > FAILURES_SHOWN:
        yield f"  and {len(failures) - FAILURES_SHOWN} more"


def summary_json(summary: BuildSummary) -> dict[str, Any]:
    """The whole summary as JSON values."""
    return {
        "images": summary.images,
        "captions": summary.captions,
        "added": summary.added,
        "unchanged": summary.unchanged,
        "replaced": summary.replaced,
        "removed": summary.removed,
        "resumed": summary.resumed,
        "failures": failures_json(summary.failures),
        "unused": summary.unused,
        "seconds": round(summary.seconds, 2),
        "images_per_second": round(summary.images_per_second, 2),
        "version": summary.version,
    }


def failures_json(failures: Sequence[Failure]) -> list[dict[str, str]]:
    """All failures as JSON values."""
    return [{"uri": str(f.uri), "reason": f.reason, "sentence": f.sentence} for f in failures]
