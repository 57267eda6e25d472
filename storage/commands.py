"""Commands that change or list a collection and encode nothing: delete, compact, versions, rollback, failures, sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from storage.console import COLLECTION, HOME, JSON, say

DROP = click.option("--drop-unfinished", is_flag=True, help="Lose what an interrupted index run had encoded.")


@click.command()
@click.argument("ids", type=click.IntRange(1), nargs=-1, metavar="[ID...]")
@click.option("--where", help="Delete what fits this filter, e.g. \"album = 'summer'\" (see docs/searching.md).")
@click.option(
    "--captions",
    metavar="FILTER",
    help="Delete the captions that fit this filter, and no photo, e.g. \"origin like 'generated%'\".",
)
@DROP
@HOME
@COLLECTION
@JSON
def delete(
    ids: tuple[int, ...],
    where: str | None,
    captions: str | None,
    drop_unfinished: bool,
    home: Path,
    collection: str,
    as_json: bool,
) -> None:
    """Delete images and their captions from a collection, by the ids that `search --json` gives, or by a filter.

    Reads and Writes HOME/collections/COLLECTION; photos are left where they are. A photo or caption that is still in its
    source comes back with the next build-index. `rollback` undoes it; `compact` frees the space.
    """
    from storage import Home
    from storage.filtering.evaluator import ids_where
    from storage.maintenance import changed_lines, delete_images

    if [bool(ids), where is not None, captions is not None].count(True) != 1:
        raise click.UsageError("give either ids, --where or --captions")
    stored = Home(home)
    if captions is not None:
        from storage.caption_deletion import delete_captions

        say(delete_captions(stored, collection, captions, drop_unfinished), changed_lines, as_json)
        return
    if where is not None:
        ids = ids_where(stored.collection(collection).open_snapshot(), where).tolist()
    say(delete_images(stored, collection, ids, drop_unfinished), changed_lines, as_json)


@click.command()
@click.option("--keep", type=click.IntRange(0), default=5, show_default=True, help="How many older versions to keep.")
@DROP
@HOME
@COLLECTION
@JSON
def compact(keep: int, drop_unfinished: bool, home: Path, collection: str, as_json: bool) -> None:
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
def versions(home: Path, collection: str, as_json: bool) -> None:
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
def rollback(version: int, drop_unfinished: bool, home: Path, collection: str, as_json: bool) -> None:
    """Make a collection what it was in VERSION, one that `versions` lists, as a new version.

    Reads and Writes HOME/collections/COLLECTION. The catalog and the photos are not rolled back: the next build-index brings
    the collection up to its source again.
    """
    from storage import Home
    from storage.maintenance import changed_lines, roll_back

    say(roll_back(Home(home), collection, version, drop_unfinished), changed_lines, as_json)


@click.command()
@HOME
@COLLECTION
@JSON
def failures(home: Path, collection: str, as_json: bool) -> None:
    """List every file that could not be read, with a reason code and a sentence.

    Reads the catalog and HOME/collections/COLLECTION; writes nothing.
    """
    from storage import Home
    from storage.status import failures as list_failures
    from storage.status import failures_lines

    say(list_failures(Home(home), collection), failures_lines, as_json)


@click.group(invoke_without_command=True)
@HOME
@COLLECTION
@JSON
@click.pass_context
def sources(context: click.Context, home: Path, collection: str, as_json: bool) -> None:
    """List the sources of a collection, and how many photos and captions came from each; `sources forget` forgets one.

    Reads HOME/collections/COLLECTION and the catalog; writes nothing.
    """
    from storage import Home
    from storage.sources import sources as list_sources
    from storage.sources import sources_lines

    if context.invoked_subcommand is None:
        say(list_sources(Home(home), collection), sources_lines, as_json)


@sources.command("forget")
@click.argument("source")
@DROP
@HOME
@COLLECTION
@JSON
@click.pass_context
def forget(context: click.Context, source: str, drop_unfinished: bool, **options: Any) -> None:
    """Take the photos of SOURCE out of a collection, and forget how it was indexed and what in it could not be read.

    SOURCE is a path as `sources` lists it. Reads and Writes HOME/collections/COLLECTION and the catalog; photos are left where
    they are. `rollback` brings them back; `compact` frees the space.
    """
    from storage import Home
    from storage.sources import forget_source, forgotten_lines

    assert context.parent is not None  # `sources`, before whose subcommand options may stand too
    for name in options:
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            options[name] = context.parent.params[name]
    home, collection = Home(options["home"]), options["collection"]
    say(forget_source(home, collection, source, drop_unfinished), forgotten_lines, options["as_json"])


COMMANDS = [delete, compact, versions, rollback, failures, sources]
