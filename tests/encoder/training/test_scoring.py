"""`train` and `model calibrate` choose hub weights and the match calibration on validation photos."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from PIL import Image

from encoder import model_folder, open_encoder
from encoder.query_bank import QueryBank, read_query_bank
from encoder.training.scoring import Gallery, Sentences, choose_hub_weights, unmatched_sentences
from tests.support.commands import manage
from tests.support.small_models import SMALL_MINI, write_small_model


def units(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_hub_weight_is_positive_if_one_photo_is_near_to_all_queries():
    rng = np.random.default_rng(0)
    photos = units(rng.normal(size=(40, 16)))
    everything = units(photos.mean(0, keepdims=True))
    photos[0] = units(everything + 0.1 * photos[:1])[0]  # the hub
    captions = units(photos + 1.2 * everything)
    bank = QueryBank({"en": units(units(rng.normal(size=(200, 16))) + 1.2 * everything)}, photos)
    sentences = Sentences([""] * 40, captions, np.arange(40))

    to_images, _ = choose_hub_weights(Gallery(photos, None), {"en": sentences}, bank, 20.0)

    assert to_images > 0


def test_the_hub_weights_are_zero_if_they_improve_nothing():
    photos = np.eye(8, dtype=np.float32)
    sentences = Sentences([""] * 8, photos, np.arange(8))

    assert choose_hub_weights(Gallery(photos, None), {"en": sentences}, QueryBank({"en": photos}, photos), 20.0) == (0, 0)


def test_unmatched_sentences_are_those_least_like_any_caption():
    vectors = units(np.array([[1, 0.1 * i] for i in range(20)]))
    captions = Sentences(["x"], np.float32([[1, 0]]), np.array([0]))

    assert unmatched_sentences([str(i) for i in range(20)], vectors, {"en": captions}).texts == ["19", "18"]


def write_manifest(folder: Path, name: str, count: int, seed: int) -> Path:
    """A manifest of random photos, two captions in each language."""
    rng = np.random.default_rng(seed)
    with (folder / name).open("w", encoding="utf-8") as lines:
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{name}-{i}.png")
            captions = {"en": ["a red dog on the beach", f"{i} cats on a car"], "zh": ["红狗", f"{i} 猫"]}
            lines.write(json.dumps({"image": f"{name}-{i}.png", "captions": captions}) + "\n")
    return folder / name


def test_model_calibrate_changes_the_ranking_and_not_the_fingerprint(tmp_path):
    model = write_small_model(tmp_path / "model", dataclasses.replace(SMALL_MINI, first_stage_weight=10.0))
    data, val = write_manifest(tmp_path, "data", 12, 0), write_manifest(tmp_path, "val", 30, 1)
    before = model_folder.fingerprint(model)

    done = manage("model", "calibrate", model, "--data", data, "--val", val, PANOPTES_HOME=str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert "match probability" in done.stdout
    assert model_folder.fingerprint(model) == before
    config = model_folder.read_config(model)
    assert config.first_stage_weight == 10.0 and len(config.match_calibration) == 3
    bank = read_query_bank(model, config.dim)
    assert set(bank.texts) == {"en", "zh"} and len(bank.images) == 12
    assert open_encoder(model).query_bank is not None
