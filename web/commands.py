"""The commands that serve the page: serve, demo."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from encoder.commands import MODEL, RERANKER, chosen_models, model_options
from indexer.caption_commands import chosen_writer
from indexer.command_steps import exit_without_images, index_source, print_summary
from search.commands import naming_models
from storage.console import COLLECTION, HOME
from storage.interrupts import end_by_itself

if TYPE_CHECKING:
    from encoder.api import CaptionWriter, Encoder

HOST = click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
PORT = click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="The port to listen on.")


@click.command()
@HOST
@PORT
@click.option(
    "--log-json",
    is_flag=True,
    envvar="PANOPTES_LOG_JSON",
    help="Write one line of JSON for each request to standard error (or PANOPTES_LOG_JSON=1).",
)
@click.option("--read-only", is_flag=True, help="Only search: nobody adds or deletes photos, or starts builds, over HTTP.")
@click.option(
    "--watch",
    type=click.Path(path_type=Path),
    help="A source: index what changes in it a few seconds later, as `build-index SOURCE --watch` does.",
)
@MODEL
@RERANKER
@HOME
@COLLECTION
def serve(
    host: str,
    port: int,
    log_json: bool,
    read_only: bool,
    watch: Path | None,
    model: str | None,
    reranker: str | None,
    home: Path,
    collection: str,
) -> None:
    """Serve the search page and the HTTP API at http://HOST:PORT.

    Reads HOME/collections/COLLECTION, and picks up a new version of it by itself. Writes to it what is asked for over HTTP:
    photos that are added and deleted, and builds of sources that it was built from before; with --read-only nothing. Where
    PANOPTES_TOKEN or PANOPTES_READ_TOKEN is set, every request needs it, as a bearer token or a browser's password; the latter
    is not good for sending photos or for changes. Any HOST that others can reach needs PANOPTES_TOKEN.
    """
    from search.engine import check_weights
    from storage import Home
    from web.serving.auth import Tokens, check_address
    from web.serving.request_log import log_as_json

    check_address(host, Tokens.of(os.environ))
    if log_json:
        log_as_json()
    chosen = chosen_models(home, model, reranker)
    with naming_models(home):
        check_weights(Home(home).collection(collection).open_snapshot(), chosen.fingerprint)
    options = model_options(model, reranker)
    captioner = partial(chosen_writer, home, model, None)
    _serve(home, collection, host, port, chosen.open, captioner, None if read_only else options, watch, options)


@click.command()
@HOST
@PORT
@MODEL
@RERANKER
@HOME
@COLLECTION
def demo(host: str, port: int, model: str | None, reranker: str | None, home: Path, collection: str) -> None:
    """Index a gallery of sample photos and serve the page.

    Reads the photographs that come with scikit-image, or the folder named by the environment variable PANOPTES_DATA (a
    manifest or a COCO layout). Writes HOME/gallery and HOME/collections/COLLECTION; where that collection holds other photos
    already, a collection of the demo's own, which it names.
    """
    from indexer import open_source
    from indexer.gallery import demo_collection, sample_gallery
    from storage import Home
    from web.serving.auth import Tokens, check_address
    from web.serving.server import check_port

    check_address(host, Tokens.of(os.environ))
    check_port(host, port)
    data = os.environ.get("PANOPTES_DATA")
    stored = Home(home)
    source = open_source(Path(data) if data else sample_gallery(home / "gallery"), None)
    collection = demo_collection(stored, collection, source)
    click.echo(f"Indexing {source.root} into the collection {collection}")
    encoder = chosen_models(home, model, reranker).open()
    manifest = stored.create_collection(collection).manifest
    other_weights = manifest.version > 0 and manifest.fingerprint != encoder.fingerprint
    summary = index_source(source, None, other_weights, None, stored, collection, encoder, missing="keep")
    print_summary(summary, collection)
    exit_without_images(summary)
    captioner = partial(chosen_writer, home, model, None)
    _serve(home, collection, host, port, lambda: encoder, captioner, model_options(model, reranker))


def _serve(
    home: Path,
    collection: str,
    host: str,
    port: int,
    open_encoder: Callable[[], Encoder],
    captioner: Callable[[], CaptionWriter],
    build_options: list[str] | None,
    watched: Path | None = None,
    watch_options: Sequence[str] = (),
) -> None:
    """Serve until Ctrl-C, then end the process at once.

    A thread may still be opening the model, and MindSpore aborts with a trace in an interpreter that shuts down. Writing to a
    collection can be killed at any instant.

    Args:
        home: The home's folder.
        collection: The name of the collection to search.
        host: The address to listen on.
        port: The port to listen on.
        open_encoder: Opens the encoder; called in a thread of its own.
        captioner: Opens the model that writes captions.
        build_options: Options of `build-index` for builds over HTTP; None: nothing can be changed over HTTP.
        watched: A source to watch meanwhile.
        watch_options: Options of `build-index` for it.
    """
    from search.query.translation import translator
    from storage import Home
    from web import create_app, run
    from web.build_runner import CommandBuilds
    from web.editing import HomeEditor
    from web.errors import PortTaken
    from web.serving.auth import Tokens
    from web.serving.server import host_and_port
    from web.watch_runner import WatchRunner

    end_by_itself()
    translate, tokens, stored = translator(), Tokens.of(os.environ), Home(home)
    builds = CommandBuilds(stored, build_options or [])
    editor = None if build_options is None else HomeEditor(stored, builds)
    greeting = (
        f"Serving http://{host_and_port(host, port)} (Ctrl+C stops it); the first answer waits until the model is loaded."
    )
    code, watch = 0, None if watched is None else WatchRunner(stored, collection, watched, watch_options)
    try:
        app = create_app(
            stored,
            open_encoder,
            collection,
            translate=translate,
            tokens=tokens,
            local_only=not tokens,
            editor=editor,
            captioner=captioner,
        )
        run(app, host, port, on_listening=lambda: click.echo(greeting))
    except KeyboardInterrupt:
        pass
    except PortTaken as error:
        click.echo(f"Error: {error}", err=True)
        code = 2
    builds.close()
    if watch is not None:
        watch.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


COMMANDS = [serve, demo]
