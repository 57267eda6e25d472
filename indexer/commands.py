"""The commands that fill and mend a collection: build-index, add, read-text, retry-failures, verify, repair, download."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from encoder.commands import MODEL, RERANKER, chosen_models
from encoder.devices import DEVICES
from indexer import caption_commands, errors
from indexer.command_steps import (
    exit_with_failures,
    index_source,
    print_failures,
    refuse_with,
    say_preview,
    text_read,
    text_report,
    watch_source,
)
from storage.commands import DROP
from storage.console import COLLECTION, HOME, JSON, bar, end_with_parent, print_lines, say

if TYPE_CHECKING:
    pass

FORMATS = click.Choice(errors.FORMATS)


@click.command("build-index")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--format", "source_format", type=FORMATS, help="What SOURCE is; detected where it isn't given.")
@click.option(
    "--captions",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A file with more captions of SOURCE's photos: COCO's or Karpathy's JSON, CSV, TSV, JSON Lines, Parquet; may be given "
    "several times.",
)
@click.option("--lang", multiple=True, help="The language of --captions: once, or once for each (default: told by script).")
@click.option("--image-column", metavar="NAME", help="The column of a table of --captions that names photos (default: told).")
@click.option("--caption-column", metavar="NAME", help="Its column of captions (default: told).")
@click.option(
    "--exclude",
    metavar="GLOB",
    multiple=True,
    help="Leave out what fits, in gitignore's syntax and relative to SOURCE, e.g. '*.bak' or /old/; may be given again "
    "(default: as in the last run; '' leaves out nothing).",
)
@click.option(
    "--max-ms",
    type=click.FloatRange(0),
    help="Milliseconds beyond which the first stage of a search may be "
    "approximate (default: as in the last run, at first 100).",
)
@click.option(
    "--max-memory",
    type=click.FloatRange(0, min_open=True),
    help="GB that the vectors may take (default: as in the last run, at first any).",
)
@click.option("--limit", type=click.IntRange(1), help="Index only the first N photos.")
@click.option("--rebuild", is_flag=True, help="Encode everything anew, e.g. with other weights, and swap at the end.")
@click.option("--keep-missing", "missing", flag_value="keep", help="Keep photos that SOURCE has no more.")
@click.option("--drop-missing", "missing", flag_value="drop", help="Remove them, even if that is more than half.")
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="Processes that decode photos (default: one for two cores; one a core, where an Ascend card encodes).",
)
@click.option("--device", type=click.Choice(DEVICES), help="What encodes (default: PANOPTES_DEVICE, or CPU).")
@click.option(
    "--devices",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes that encode, each on a card of its own; on CPU they share the cores, and each takes its memory.",
)
@click.option("--watch", is_flag=True, help="Then go on, and index what changes in SOURCE a few seconds later, until Ctrl-C.")
@click.option("--with-parent", is_flag=True, hidden=True, help="End when standard input is closed.")
@click.option("--dry-run", is_flag=True, help="Only say what would be added, replaced and removed; needs no model.")
@click.option("--read-text", "reads_text", is_flag=True, help="Then read the text in the photos, as `read-text` does.")
@click.option(
    "--write-captions",
    "writes_captions",
    is_flag=True,
    help="Then write captions of the photos that have none, as `caption --missing` does, in all languages of the captioner.",
)
@click.option("--announced", type=int, hidden=True, help="The run's id, where a server has noted it already.")
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def build_index(
    source: Path,
    source_format: str | None,
    captions: tuple[Path, ...],
    lang: tuple[str, ...],
    image_column: str | None,
    caption_column: str | None,
    exclude: tuple[str, ...],
    max_ms: float | None,
    max_memory: float | None,
    limit: int | None,
    rebuild: bool,
    missing: str | None,
    workers: int | None,
    device: str | None,
    devices: int,
    watch: bool,
    with_parent: bool,
    dry_run: bool,
    reads_text: bool,
    writes_captions: bool,
    announced: int | None,
    model: str | None,
    reranker: str | None,
    home: Path,
    collection: str,
    as_json: bool,
) -> None:
    """Index the photos and captions of SOURCE into a collection.

    Reads SOURCE: a folder of photos (name.txt beside name.jpg, or a table of captions at its top, has their captions), a COCO
    folder (annotations/captions_*.json and its image folders), a manifest in JSON Lines ({"image": path, "captions": {"en":
    [...], "zh": [...]}}) or Parquet, which may hold the photos, WebDataset's tar shards or, for models that read them, a
    detector's features (name.npz, beside name.jpg or alone); docs/sources.md shows each. What fits --exclude or a
    .panoptesignore is left out. Writes HOME/collections/COLLECTION. Run again, it adds what is new, replaces what changed,
    removes what SOURCE has no more (nothing with --limit), and encodes nothing twice; it refuses to remove more than half.
    Exits with 3 when some photos or captions could not be read; `failures` lists them. With --dry-run it writes nothing.
    """
    from indexer import open_source
    from indexer.report import summary_json, summary_lines
    from indexer.sources.record_files import Columns
    from indexer.upkeep import kept_exclusions
    from storage import Home
    from storage.vector_index.selection import IndexBudget

    if watch:
        once = {"limit": limit, "max-ms": max_ms, "max-memory": max_memory, "rebuild": rebuild or None}
        then = {"read-text": reads_text or None, "write-captions": writes_captions or None, "json": as_json or None}
        refuse_with("watch", once | {"dry-run": dry_run or None} | then)
    if dry_run:
        refuse_with("dry-run", {"rebuild": rebuild or None})
    if announced is not None or with_parent:
        end_with_parent()
    wanted = [pattern for pattern in exclude if pattern] if exclude else kept_exclusions(Home(home), collection, source)
    reopen = partial(open_source, source, source_format, captions, lang, Columns(image_column, caption_column), wanted)
    if watch:
        with chosen_models(home, model, reranker).opened(device, devices) as encoder:
            watch_source(source, reopen, Home(home), collection, encoder, workers, missing or "guard")
        return
    opened = reopen()
    if dry_run:
        say_preview(Home(home), collection, opened, limit, missing or "guard", as_json)
        return
    with chosen_models(home, model, reranker).opened(device, devices) as encoder:
        summary = index_source(
            opened,
            limit,
            rebuild,
            workers,
            Home(home),
            collection,
            encoder,
            quiet=as_json,
            missing=missing or "guard",
            budget=IndexBudget.of(max_ms, max_memory),
            announced=announced,
        )
        wrote = []
        if writes_captions and summary.version:
            writer = caption_commands.chosen_writer(home, model, reranker)
            wrote = caption_commands.write_all(Home(home), collection, encoder, writer, writer.languages, as_json, missing=True)
    read = text_read(Home(home), collection, as_json) if reads_text and summary.version else None
    answer = summary_json(summary) | ({"written": wrote} if wrote else {}) | ({"text": read} if read else {})
    reports = [*(line for one in wrote for line in caption_commands.written_report(one)), *(text_report(read) if read else ())]
    say(answer, lambda _: [*summary_lines(summary, collection), *reports], as_json)
    if not as_json:
        print_failures(summary.failures)
    exit_with_failures(summary)
    sys.exit(3 if any(one["failures"] for one in [*wrote, *([read] if read else [])]) else 0)


@click.command()
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE...")
@click.option("--caption", "captions", multiple=True, help="A sentence about the photo; may be given several times.")
@click.option("--lang", help="The captions' language, such as en or zh (default: told by their script).")
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def add(
    files: tuple[Path, ...],
    captions: tuple[str, ...],
    lang: str | None,
    model: str | None,
    reranker: str | None,
    home: Path,
    collection: str,
    as_json: bool,
) -> None:
    """Add photos to a collection by their paths.

    Reads each FILE. Writes HOME/collections/COLLECTION. A photo that is in the collection already keeps its captions beside
    the new ones. Exits with 3 when some FILE could not be read.
    """
    from indexer import build_index
    from indexer.items import captions_from
    from indexer.upkeep import added_lines, added_photos, added_summary
    from storage import Home

    if captions and len(files) > 1:
        raise click.UsageError("--caption is about one photo: give one FILE")
    stored = Home(home)
    source = added_photos(stored, collection, files, captions_from(captions, "add", lang))
    encoder = chosen_models(home, model, reranker).open()
    with bar("photos", as_json) as progress:
        summary = build_index(stored, collection, source, encoder, progress=progress, partial=True)
    answer = added_summary(summary, source, stored, collection)
    say(answer, added_lines, as_json)
    if not as_json:
        print_lines((f"  {one['reason']}: {one['sentence']}" for one in answer["failures"]), err=True)
    sys.exit(3 if answer["failures"] else 0)


@click.command("read-text")
@click.option("--limit", type=click.IntRange(1), help="Read only the first N of the photos that were not read yet.")
@HOME
@COLLECTION
@JSON
def read_text(limit: int | None, home: Path, collection: str, as_json: bool) -> None:
    """Read the text in the photos of a collection, such as signs and book covers, in Chinese and English.

    Reads the photos that were not read yet. Writes HOME/collections/COLLECTION: each line with its place in the photo, found
    by search in the modes lexical and hybrid. Stopped, it goes on where it was. `rollback` undoes it. Exits with 3 when some
    photos could not be read.
    """
    from storage import Home

    report = text_read(Home(home), collection, as_json, limit)
    say(report, text_report, as_json)
    if not as_json:
        print_lines((f"  {one['reason']}: {one['sentence']}" for one in report["failures"]), err=True)
    sys.exit(3 if report["failures"] else 0)


@click.command("retry-failures")
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def retry_failures(model: str | None, reranker: str | None, home: Path, collection: str, as_json: bool) -> None:
    """Try the files that `failures` lists again, as their sources tell of them now.

    Reads those files and their sources; Writes HOME/collections/COLLECTION. Exits with 3 when some fail still.
    """
    from indexer.upkeep import retry_failures as run
    from storage import Home
    from storage.status import failures, failures_lines

    stored = Home(home)
    answer = failures(stored, collection) | {"tried": 0}
    if answer["failures"]:
        with bar("photos", as_json) as progress:
            answer = run(stored, collection, chosen_models(home, model, reranker).open(), progress)
    say(answer, failures_lines, as_json)
    sys.exit(3 if answer["failures"] else 0)


@click.command()
@click.option(
    "--sample",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Encode N random photos anew and compare; needs the model.",
)
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def verify(sample: int, model: str | None, reranker: str | None, home: Path, collection: str, as_json: bool) -> None:
    """Check every byte of a collection: checksums, counts, and ids in segments, index files and catalog.

    Reads HOME/collections/COLLECTION and the catalog, with --sample also photos; writes nothing. Exits with 3 when something
    is wrong.
    """
    from storage import Home
    from storage.verification import verify as run
    from storage.verification import verify_lines

    stored = Home(home)
    report = run(stored, collection)
    if sample and not report["problems"]:
        from indexer.upkeep import check_sample

        encoder = chosen_models(home, model, reranker).open()
        report["sample"], found = check_sample(stored.collection(collection), encoder, sample)
        report["problems"] += found
    say(report, verify_lines, as_json)
    sys.exit(3 if report["problems"] else 0)


@click.command()
@click.option("--no-encode", is_flag=True, help="Only leave out what is damaged; `retry-failures` encodes it later.")
@DROP
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def repair(
    no_encode: bool,
    drop_unfinished: bool,
    model: str | None,
    reranker: str | None,
    home: Path,
    collection: str,
    as_json: bool,
) -> None:
    """Mend what `verify` finds, and say what was done.

    Reads and Writes HOME/collections/COLLECTION and the catalog. Restores a damaged manifest from its copy, makes index files
    anew, leaves damaged segments out and encodes their photos again (under new ids), and brings the catalog in step. Exits
    with 3 when photos are lost that could not be encoded again.
    """
    from indexer.upkeep import encode_again
    from storage import Home
    from storage.catalog.catalog import SEGMENT_DAMAGED
    from storage.repair import repair as run
    from storage.repair import repair_lines
    from storage.status import failures

    stored = Home(home)
    answer, lost = run(stored, collection, drop_unfinished)
    if lost and not no_encode:
        with bar("photos", as_json) as progress:
            again = encode_again(stored, collection, chosen_models(home, model, reranker).open(), lost, progress)
        manifest = stored.collection(collection).manifest
        answer |= {
            "encoded_again": again,
            "version": manifest.version,
            "images": manifest.images,
            "captions": manifest.captions,
        }
    answer["failures"] = [one for one in failures(stored, collection)["failures"] if not one["searchable"]]
    say(answer, repair_lines, as_json)
    damaged = any(one["reason"] == SEGMENT_DAMAGED for one in answer["failures"])
    sys.exit(3 if damaged or len(lost) > answer.get("encoded_again", 0) else 0)


@click.command()
@click.argument("dataset", type=click.Choice(["coco-val2017", "coco-train2017"]))
@click.option("--to", type=click.Path(path_type=Path), default=Path("coco"), show_default=True, help="The folder it goes to.")
@click.option(
    "--server",
    metavar="URL",
    default="http://images.cocodataset.org",
    show_default=True,
    help="Where zips/ and annotations/ are, e.g. a mirror.",
)
def download(dataset: str, to: Path, server: str) -> None:
    """Fetch COCO's photos and captions, ready for `build-index FOLDER`.

    Reads the archives of DATASET from the server (val2017: 1.1 GB, 5,000 photos; train2017: 19.6 GB, 118,287 photos), checks
    them, unpacks them and removes them. Writes the folder of --to, and needs room there for twice as much. Run again, it goes
    on where it stopped.
    """
    from indexer.download import DATASETS
    from indexer.download import download as run

    with bar("done") as progress:
        run(DATASETS[dataset], to, server, progress)
    click.echo(f"{dataset} is in {to}: python manage.py build-index {to}")


COMMANDS = [build_index, add, read_text, *caption_commands.COMMANDS, retry_failures, verify, repair, download]
