"""The command that writes captions of photos."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from encoder.commands import MODEL, RERANKER, chosen_models, models_of
from storage.console import HOME, JSON, bar, print_lines, say

if TYPE_CHECKING:
    from encoder.api import BulkEncoder, CaptionWriter
    from indexer.captioning import FileCaption, Wanted
    from storage.home import Home

CAPTIONER = click.option(
    "--captioner",
    metavar="NAME",
    help="The model that writes: a name that `model list` gives, or a model folder (default: the one that fits --model).",
)


@click.command()
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, metavar="[FILE...]")
@click.option("--collection", metavar="NAME", help="Write of this collection's photos, and keep the captions in it.")
@click.option("--lang", default="en", show_default=True, help="The language of the captions: en or zh.")
@click.option(
    "--beams", type=click.IntRange(1, 16), default=4, show_default=True, help="How many beginnings are followed; 1 is fastest."
)
@click.option("--where", metavar="FILTER", help="Only photos that fit this filter (see docs/searching.md).")
@click.option("--missing", is_flag=True, help="Only photos without any caption in this language.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N of them.")
@CAPTIONER
@MODEL
@RERANKER
@HOME
@JSON
def caption(
    files: tuple[Path, ...],
    collection: str | None,
    lang: str,
    beams: int,
    where: str | None,
    missing: bool,
    limit: int | None,
    captioner: str | None,
    model: str | None,
    reranker: str | None,
    home: Path,
    as_json: bool,
) -> None:
    """Write captions of photos: of each FILE, or of the photos of a collection.

    Reads each FILE and prints its caption with the logarithm of its probability; writes nothing. With --json, a line of JSON
    for each FILE. With --collection, reads and Writes HOME/collections/NAME: a photo that has a caption of this captioner
    in this language is passed over; the captions have the origin "generated:" and the captioner's fingerprint, search tells
    them apart, and `delete --captions "origin like 'generated%'"` or `rollback` takes them out. Stopped, it goes on where it
    was. Exits with 3 when some photos could not be read.
    """
    from indexer.captioning import Wanted, captions_of_files
    from storage import Home

    if bool(files) == (collection is not None):
        raise click.UsageError("give either FILE... or --collection")
    if collection is None:
        if where is not None or missing or limit is not None:
            raise click.UsageError("--where, --missing and --limit choose photos of a --collection")
        failed = False
        for one in captions_of_files(chosen_writer(home, model, captioner), files, lang, beams):
            failed |= _say_caption(one, as_json)
        sys.exit(3 if failed else 0)
    encoder = chosen_models(home, model, reranker).open()
    writer = chosen_writer(home, model, captioner)
    wanted = Wanted(lang, beams, where, missing, limit)
    report = written(Home(home), collection, encoder, writer, wanted, as_json)
    say(report, written_report, as_json)
    if not as_json:
        print_lines((f"  {one['reason']}: {one['sentence']}" for one in report["failures"]), err=True)
    sys.exit(3 if report["failures"] else 0)


def chosen_writer(home: Path, model: str | None, captioner: str | None) -> CaptionWriter:
    """Open the chosen captioner.

    Raises:
        CannotWrite: There is none.
    """
    from encoder import selection
    from encoder.errors import CannotWrite

    open_captioner = getattr(selection, "open_captioner", None)  # until there is one
    if open_captioner is None:
        raise CannotWrite(models_of(home).chosen(captioner or model))
    return open_captioner(home, model, captioner)


def written(
    home: Home, collection: str, encoder: BulkEncoder, writer: CaptionWriter, wanted: Wanted, quiet: bool
) -> dict[str, Any]:
    """Write captions with a progress bar, which `quiet` leaves out; the report."""
    from indexer.captioning import write_captions

    with bar("captions", quiet) as progress:
        return write_captions(home, collection, encoder, writer, wanted, progress)


def write_all(
    home: Home,
    collection: str,
    encoder: BulkEncoder,
    writer: CaptionWriter,
    languages: Iterable[str],
    quiet: bool = False,
    missing: bool = False,
) -> list[dict[str, Any]]:
    """Write captions of a collection's photos in those of the languages that the captioner writes; the reports.

    With `missing` only of photos without any caption in the language.
    """
    from indexer.captioning import Wanted

    known = [language for language in languages if language in writer.languages]
    return [written(home, collection, encoder, writer, Wanted(language, missing=missing), quiet) for language in known]


def written_report(report: dict[str, Any]) -> Any:
    """The lines of a report of `written`."""
    from indexer.captioning import caption_lines

    return caption_lines(report)


def _say_caption(one: FileCaption, as_json: bool) -> bool:
    """Print a photo's caption, or on standard error why there is none; true if there is none."""
    from indexer.captioning import caption_json
    from indexer.items import Failure

    if as_json:
        click.echo(json.dumps(caption_json(one), ensure_ascii=False))
    elif isinstance(one.caption, Failure):
        print_lines([f"  {one.caption.reason}: {one.caption.sentence}"], err=True)
    else:
        print_lines([f"{one.path}: {one.caption.text} ({one.caption.log_probability:.2f})"])
    return isinstance(one.caption, Failure)


COMMANDS = [caption]
