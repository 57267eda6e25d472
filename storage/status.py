"""Reports on a collection: what it holds, and which files failed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from storage.home import Home

KINDS_SHOWN = 8
UNUSED = {
    "other_kind": "files of other kinds were not used",
    "not_listed": "photos are there and nothing lists them (--format folder takes all)",
    "not_there": "listed photos are in folders that are not there",
    "caption_of_no_photo": "captions in tables are of photos that are not there",
    "text_of_no_photo": "texts belong to no photo",
    "sidecar": "files beside photos were not read",
    "pair": "files are another form of a photo and were left out",
    "excluded": "files or folders were excluded",
    "hidden": "files or folders are hidden and were left out",
}
"""What is said of files that were not used, by reason."""


def status(home: Home, name: str) -> dict:
    """Counts, languages, version, fingerprint and failures of a collection, as JSON values.

    Raises:
        UnknownCollection: There is no such collection.
        StorageError: The collection can't be opened.
    """
    collection = home.collection(name)
    manifest = collection.manifest
    counts = {"images": 0, "captions": 0, "generated_captions": 0, "languages": [], "index": {}, "texts_read": 0}
    if manifest.version:
        snapshot = collection.open_snapshot()
        counts = {
            "images": snapshot.image_count,
            "captions": snapshot.caption_count,
            "generated_captions": snapshot.generated_count,
            "languages": list(snapshot.languages),
            "index": snapshot.index_choices,
            "texts_read": int((snapshot.texts.rows_of(snapshot.image_table()["sha256"].to_pylist()) >= 0).sum()),
        }
    failures = [{"uri": f.uri, "reason": f.reason, "sentence": f.sentence} for f in home.catalog.failures(name)]
    unused = [
        {"source": source, **files} for source, told in home.catalog.sources(name).items() for files in told.get("unused", ())
    ]
    return {
        "collection": name,
        "version": manifest.version,
        **counts,
        "model_fingerprint": manifest.fingerprint,
        "failures": failures,
        "unused": unused,
    }


def status_lines(report: dict) -> Iterator[str]:
    """Format a `status` report for people.

    Args:
        report: The report, with two more entries: `model_in_use`, the fingerprint of the model in use, and `searchable`, true
            if that model made the collection.
    """
    yield (
        f"{report['collection']}: version {report['version']}, {report['images']} images, {report['captions']} "
        f"captions ({', '.join(report['languages']) or 'none'}), model {report['model_fingerprint']}"
    )
    if report["version"] and not report["searchable"]:
        yield (
            f"  not made by the model in use, {report['model_in_use']}: choose its model with --model, or run "
            "`python manage.py build-index SOURCE --rebuild`"
        )
    if report["generated_captions"]:
        yield f"  {report['generated_captions']} of the captions were written by a model"
    for name, choice in report["index"].items():
        yield f"  search in {name}: {_described(choice)}"
    if report["texts_read"]:
        yield f"  text was looked for in {report['texts_read']} images"
    for failure in report["failures"]:
        yield f"  {failure['reason']}: {failure['sentence']}"
    for source in dict.fromkeys(files["source"] for files in report["unused"]):
        lines = unused_lines([files for files in report["unused"] if files["source"] == source])
        yield from (f"{line} ({source})" for line in lines)


def unused_lines(unused: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say what sources hold that was not used: a line for each reason, and for each file that seems to hold captions.

    Args:
        unused: Files counted by reason and kind, as `build-index --json` lists them.
    """
    for why, sentence in UNUSED.items():
        own = [files for files in unused if files["why"] == why]
        if own:
            kinds = ", ".join(f"{files['kind']} {files['count']}" for files in own[:KINDS_SHOWN])
            more = ", ..." if len(own) > KINDS_SHOWN else ""
            yield f"  {sum(files['count'] for files in own)} {sentence}: {kinds}{more}; {own[0]['example']} is one"
    for files in unused:
        if files["why"] == "captions_not_read":
            yield f"  {files['kind']} looks like captions and was not read: --captions {shlex.quote(files['example'])}"


def _described(choice: dict) -> str:
    """An index in words, such as "exact, 8.1 ms (within the budget)"."""
    if choice["kind"] == "exact":
        return f"exact, {choice['ms']:.1f} ms ({choice['why']})"
    return (
        f"{choice['factory']}, {choice['ms']:.1f} ms in place of {choice['exact_ms']:.1f}, finds {choice['recall']:.4f} of "
        f"the 10 best ({choice['queries']} queries; {choice['why']})"
    )


def failures(home: Home, name: str) -> dict:
    """The files that could not be read or encoded when they were last tried, as JSON values.

    `searchable` is true for a file that the collection still has as it was before.
    """
    collection = home.collection(name)
    failed = home.catalog.failures(name)
    known = collection.open_rows().find([one.uri for one in failed]) if collection.manifest.version and failed else {}
    entries = [
        {"uri": one.uri, "source": one.source, "reason": one.reason, "sentence": one.sentence, "searchable": one.uri in known}
        for one in failed
    ]
    return {"collection": name, "failures": entries}


def failures_lines(report: dict) -> Iterator[str]:
    """Format a `failures` report for people: one line a file."""
    for one in report["failures"]:
        yield f"{one['reason']}: {one['sentence']}" + (" It is searchable as it was." if one["searchable"] else "")
    if "tried" in report:
        yield f"{report['tried']} tried again, {len(report['failures'])} still fail"
    elif not report["failures"]:
        yield f"Every file of {report['collection']} is searchable."


def only_from(home: Home, name: str, source: str) -> bool:
    """True if all photos of a collection come from one source (its absolute path), or if there is no such collection."""
    if name not in home.collection_names():
        return True
    collection = home.collection(name)
    if not collection.manifest.version:
        return True
    snapshot = collection.open_snapshot()
    return all(image.source == source for image in snapshot.images(snapshot.image_ids()))
