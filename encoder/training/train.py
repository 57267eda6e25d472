"""`manage.py train`: makes a model folder from captioned photos and pinned packages. It can be stopped and resumed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import mindspore as ms
import numpy as np

from encoder.errors import BadTrainingData
from encoder.exporting.onnx_export import export_graphs
from encoder.model_folder import SHIPPED, fingerprint, write_model
from encoder.runtime.device import use_device
from encoder.training import captioning, matching, prepare, scoring, stages
from encoder.training.context import Settings, TrainingContext
from encoder.training.dataset import Photo, read_photos
from encoder.training.plot import plot_run

SETTINGS = Path(__file__).with_name("opt-mini.toml")
FINE_TUNING = Path(__file__).with_name("fine-tuning.toml")
STAGES = {"image": stages.train_image, "text": stages.train_text, "joint": stages.train_joint, "match": matching.train_match}
FEWEST_PHOTOS = 10


def train(
    data: list[Path],
    validation: Path | None,
    out: Path,
    settings_path: Path | None = None,
    start: Path | None = None,
    device: str | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Train a model. Calling it again with the same arguments goes on where it was stopped.

    Args:
        data: manifests of the photos to train on.
        validation: a manifest of photos to validate on; None holds out a tenth of `data`.
        out: a folder for packages, features, the teacher's vectors, each stage's state, `log.jsonl`, `run.png`, and the model.
        settings_path: stages and rates; None takes the file beside this module.
        start: a model folder to train on from; None makes a new model from packages.
        device: "CPU" or "Ascend"; None: see `use_device`.
        say: prints a line for the user.

    Returns:
        The folder of the model, `<out>/model`.

    Raises:
        BadTrainingData: data, settings or packages are missing or can't be used, or `out` belongs to another training.
    """
    settings = read_settings(settings_path or (FINE_TUNING if start else SETTINGS))
    groups, held_out = _begin(data, validation, out, settings, start)
    use_device(device)
    ms.set_seed(settings["seed"])
    say(f"{sum(map(len, groups))} photos to train on, {len(held_out)} to validate on")
    if start:
        context = prepare.from_model(start, groups, held_out, settings, out, say)
    else:
        context = prepare.from_packages(groups, held_out, settings, out, say)
    for name in settings["stages"]:
        say(f"stage {name}")
        STAGES[name](context)
    _write_model(context, out / "model")
    scoring.fit_ranking(out / "model", groups, held_out, settings["seed"], device, say)
    plot_run(out / "log.jsonl", out / "run.png")
    return out / "model"


def train_captioner(
    data: list[Path],
    validation: Path | None,
    out: Path,
    settings_path: Path | None = None,
    start: Path = SHIPPED,
    say: Callable[[str], None] = print,
) -> Path:
    """Train the network that writes captions, of a model that stays as it is.

    Args:
        data, validation, out, say: as in `train`.
        settings_path: sizes and rates; None takes the file beside this module.
        start: the model's folder.

    Returns:
        The folder of the captioner, `<out>/captioner`.

    Raises:
        BadTrainingData: as in `train`, or the model is none that a captioner can be made of.
    """
    settings = read_settings(settings_path or captioning.SETTINGS)
    groups, held_out = _begin(data, validation, out, settings, start)
    return captioning.train_captioner(start, groups, held_out, settings, out, say)


def _begin(
    data: list[Path], validation: Path | None, out: Path, settings: Settings, start: Path | None
) -> tuple[list[list[Photo]], list[Photo]]:
    """Read the photos to train on and to validate on, and make the training's folder."""
    groups = [read_photos(manifest) for manifest in data]
    groups, held_out = (groups, read_photos(validation)) if validation else _hold_out(groups, settings["seed"])
    _make_folder(out)
    _claim(out, settings, [*data, *([validation] if validation else [])], start)
    return groups, held_out


def _write_model(context: TrainingContext, folder: Path) -> None:
    config = dataclasses.replace(context.model.config, **matching.choose_first_stage_weight(context))
    weights = {name: p.asnumpy() for name, p in context.model.parameters_and_names()}
    write_model(folder, config, weights, (context.folder / "tokenizer.json").read_bytes())
    export_graphs(folder)


def _hold_out(groups: list[list[Photo]], seed: int) -> tuple[list[list[Photo]], list[Photo]]:
    """Take a tenth of the photos, at least one, out of the groups. Gives the groups and what was taken."""
    photos = [photo for group in groups for photo in group]
    if len(photos) < FEWEST_PHOTOS:
        raise BadTrainingData(f"There are {len(photos)} captioned photos to train on; {FEWEST_PHOTOS} is the least.")
    taken = set(np.random.default_rng(seed).permutation(len(photos))[: max(1, len(photos) // 10)].tolist())
    rows = iter(range(len(photos)))
    kept = [[photo for photo in group if next(rows) not in taken] for group in groups]
    return [group for group in kept if group], [photos[row] for row in sorted(taken)]


def read_settings(path: Path) -> Settings:
    """Read the settings of a training from a TOML file.

    Raises:
        BadTrainingData: the file can't be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadTrainingData(f"The settings {path} cannot be read ({error}).") from error


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadTrainingData(f"{out} cannot be written ({error.strerror}); give another folder with --out.") from error


def _claim(out: Path, settings: Settings, manifests: list[Path], start: Path | None) -> None:
    """Mark the folder as this training's: its caches and states fit no other data, settings or weights."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    if start:
        digest.update(fingerprint(start).encode())
    for manifest in manifests:
        digest.update(manifest.read_bytes())
    mark, path = digest.hexdigest(), out / "run.sha256"
    if path.exists() and path.read_text() != mark:
        raise BadTrainingData(f"{out} holds a training with other data or settings; give another folder with --out.")
    path.write_text(mark)
