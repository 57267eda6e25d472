"""The commands of a collection's life: add, delete, compact, versions, rollback, verify, repair, failures."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from console import COLLECTION, HOME, JSON, MODEL, RERANKER, bar, chosen_models, print_lines, say

DROP = click.option("--drop-unfinished", is_flag=True, help="Lose what an interrupted index run had encoded.")


@click.command()
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE...")
@click.option("--caption", "captions", multiple=True, help="A sentence about the photo; may be given several times.")
@click.option("--lang", help="The captions' language, such as en or zh (default: told by their script).")
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def add(files, captions, lang, model, reranker, home, collection, as_json):
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


@click.command()
@click.argument("ids", type=click.IntRange(1), nargs=-1, metavar="[ID...]")
@click.option("--where", help="Delete what fits this filter, e.g. \"album = 'summer'\" (see docs/searching.md).")
@DROP
@HOME
@COLLECTION
@JSON
def delete(ids, where, drop_unfinished, home, collection, as_json):
    """Delete images and their captions from a collection, by the ids that `search --json` gives, or by a filter.

    Reads and Writes HOME/collections/COLLECTION; photos are left where they are. A photo that is still in its source comes
    back with the next build-index. `rollback` undoes it; `compact` frees the space.
    """
    from search import ids_where
    from storage import Home
    from storage.maintenance import changed_lines, delete_images

    if bool(ids) == (where is not None):
        raise click.UsageError("give either ids or --where")
    stored = Home(home)
    if where is not None:
        ids = ids_where(stored.collection(collection).open_rows(), where).tolist()
    say(delete_images(stored, collection, ids, drop_unfinished), changed_lines, as_json)


@click.command()
@click.option("--keep", type=click.IntRange(0), default=5, show_default=True, help="How many older versions to keep.")
@DROP
@HOME
@COLLECTION
@JSON
def compact(keep, drop_unfinished, home, collection, as_json):
    """Write segments that hold deleted images anew, and forget old versions.

    Reads and Writes HOME/collections/COLLECTION; a server may go on serving meanwhile. Old versions keep their files:
    --keep 0 frees all that the current version doesn't need, and nothing can be rolled back then.
    """
    from storage import Home
    from storage.maintenance import changed_lines
    from storage.maintenance import compact as run

    say(run(Home(home), collection, keep, drop_unfinished), changed_lines, as_json)


@click.command()
@HOME
@COLLECTION
@JSON
def versions(home, collection, as_json):
    """List the versions of a collection that are kept: when, how much they hold, by which model, what changed.

    Reads HOME/collections/COLLECTION; writes nothing. The first is the current one.
    """
    from storage import Home
    from storage.maintenance import version_lines
    from storage.maintenance import versions as list_versions

    say(list_versions(Home(home), collection), version_lines, as_json)


@click.command()
@click.argument("version", type=click.IntRange(1))
@DROP
@HOME
@COLLECTION
@JSON
def rollback(version, drop_unfinished, home, collection, as_json):
    """Make a collection what it was in VERSION, one that `versions` lists, as a new version.

    Reads and Writes HOME/collections/COLLECTION. The catalog and the photos are not rolled back: the next build-index brings
    the collection up to its source again.
    """
    from storage import Home
    from storage.maintenance import changed_lines, roll_back

    say(roll_back(Home(home), collection, version, drop_unfinished), changed_lines, as_json)


@click.command()
@click.option("--sample", type=click.IntRange(0), default=0, show_default=True,
              help="Encode N random photos anew and compare; needs the model.")
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def verify(sample, model, reranker, home, collection, as_json):
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
def repair(no_encode, drop_unfinished, model, reranker, home, collection, as_json):
    """Mend what `verify` finds, and say what was done.

    Reads and Writes HOME/collections/COLLECTION and the catalog. Restores a damaged manifest from its copy, makes index files
    anew, leaves damaged segments out and encodes their photos again (under new ids), and brings the catalog in step. Exits
    with 3 when photos are lost that could not be encoded again.
    """
    from indexer.upkeep import encode_again
    from storage import Home
    from storage.catalog import SEGMENT_DAMAGED
    from storage.repairing import repair as run
    from storage.repairing import repair_lines
    from storage.status import failures

    stored = Home(home)
    answer, lost = run(stored, collection, drop_unfinished)
    if lost and not no_encode:
        with bar("photos", as_json) as progress:
            again = encode_again(stored, collection, chosen_models(home, model, reranker).open(), lost, progress)
        manifest = stored.collection(collection).manifest
        answer |= {"encoded_again": again, "version": manifest.version, "images": manifest.images,
                   "captions": manifest.captions}
    answer["failures"] = [one for one in failures(stored, collection)["failures"] if not one["searchable"]]
    say(answer, repair_lines, as_json)
    damaged = any(one["reason"] == SEGMENT_DAMAGED for one in answer["failures"])
    sys.exit(3 if damaged or len(lost) > answer.get("encoded_again", 0) else 0)


@click.command()
@HOME
@COLLECTION
@JSON
def failures(home, collection, as_json):
    """List every file that could not be read, with a reason code and a sentence.

    Reads the catalog and HOME/collections/COLLECTION; writes nothing.
    """
    from storage import Home
    from storage.status import failures as list_failures
    from storage.status import failures_lines

    say(list_failures(Home(home), collection), failures_lines, as_json)


@click.command("retry-failures")
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def retry_failures(model, reranker, home, collection, as_json):
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


COMMANDS = [add, delete, compact, versions, rollback, verify, repair, failures, retry_failures]
