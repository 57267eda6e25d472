"""The sources of a collection: what came from each, and forgetting one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from storage.arrow_compute import pc
from storage.errors import NoSuchSource
from storage.home import Home
from storage.maintenance import Maintenance, changed
from storage.manifest import Manifest
from storage.segments.segment_set import SegmentSet
from storage.snapshot import rows_of


def counts_by_source(rows: SegmentSet) -> dict[str, tuple[int, int]]:
    """How many images and captions of a version came from each source, by the source's absolute path."""
    table = rows.image_table()
    names, numbers = _numbered(table["source"])
    owners = np.searchsorted(table["image_id"].to_numpy(), rows.caption_table()["image_id"].to_numpy())
    images = np.bincount(numbers, minlength=len(names)).tolist()
    captions = np.bincount(numbers[owners], minlength=len(names)).tolist()
    return dict(sorted(zip(names, zip(images, captions, strict=True), strict=True)))


def _numbered(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """The different values of a column, and for each row the number of its value, int64 [n]."""
    encoded = pc.dictionary_encode(column.combine_chunks())
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def sources(home: Home, name: str) -> dict:
    """The sources of a collection in alphabetical order, with counts and the options of their last run, as JSON values.

    A source that no run has noted has no options: photos that were added one by one, or indexed by an old version.

    Raises:
        UnknownCollection: There is no such collection.
        StorageError: The collection can't be opened.
    """
    collection = home.collection(name)
    held = counts_by_source(collection.open_rows()) if collection.manifest.version else {}
    noted, failed = home.catalog.sources(name), Counter(failure.source for failure in home.catalog.failures(name))
    entries = [
        {
            "source": source,
            "images": held.get(source, (0, 0))[0],
            "captions": held.get(source, (0, 0))[1],
            "failures": failed[source],
            "options": noted.get(source),
        }
        for source in sorted({*held, *noted, *failed})
    ]
    return {"collection": name, "sources": entries}


def forget_source(home: Home, name: str, source: str, drop_unfinished: bool = False) -> dict:
    """Take the images of a source out of a collection, and forget its options and failures.

    Args:
        home: The home.
        name: The collection's name.
        source: What `sources` lists, or a path to it.
        drop_unfinished: Drop what an interrupted run had encoded.

    Returns:
        The report of the command, as JSON values.

    Raises:
        NoSuchSource: Nothing came from there.
        StorageError: What `storage.maintenance.changed` raises.
    """
    known = [entry["source"] for entry in sources(home, name)["sources"]]
    found = next((one for one in (source, str(Path(source).expanduser().absolute())) if one in known), None)
    if found is None:
        raise NoSuchSource(name, source, known)
    forgotten: list[int] = []

    def change(writer: Maintenance) -> Manifest:
        table = rows_of(home.collection(name).folder, writer.manifest).image_table()
        forgotten.extend(table.filter(pc.equal(table["source"], found))["image_id"].to_pylist())
        for image_id in forgotten:
            writer.tombstone(image_id)
        return writer.publish(f"{found} forgotten: {len(forgotten)} removed")

    report = changed(home, name, change, drop_unfinished, lambda: home.catalog.forget_source(name, found))
    return {"source": found, "removed": len(forgotten), **report}


def sources_lines(report: dict) -> Iterator[str]:
    """Format a `sources` report for people: one line a source."""
    for one in report["sources"]:
        failed = f", {one['failures']} files that could not be read" if one["failures"] else ""
        yield f"{one['source']}: {one['images']} images, {one['captions']} captions{failed}"
    if not report["sources"]:
        yield f"Nothing in {report['collection']} came from a source."


def forgotten_lines(report: dict) -> Iterator[str]:
    """Format a report of `forget_source` for people."""
    name, removed = report["collection"], report["removed"]
    named = "" if name == "default" else f" --collection {name}"
    undo = f" `python manage.py rollback {report['version'] - 1}{named}` brings them back." if report["changed"] else ""
    yield f"{report['source']} is forgotten: {removed} image{'' if removed == 1 else 's'} removed.{undo}"
    yield f"{report['images']} images and {report['captions']} captions in {name}, version {report['version']}"
