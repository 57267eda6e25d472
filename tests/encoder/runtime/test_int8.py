"""Products in 8 bits: the arithmetic, the graphs, and the errors."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder import open_encoder
from encoder.errors import BadTrainingData, NoInt8Graphs, UnknownPrecision
from encoder.exporting.calibration_data import feeds_of
from encoder.exporting.onnx_quantization import stays_float32, write_int8_graphs
from encoder.model_folder import read_config
from encoder.runtime import int8, onnx_graphs
from encoder.runtime.graph_files import copy_kept_graphs
from encoder.runtime.int8 import Product, balanced_steps, constants, read_int8_graphs
from encoder.training.dataset import Photo, read_photos
from manage import error_line
from tests.support.commands import manage
from tests.support.fakes import COLOURS, save_photo
from tests.support.small_models import SMALL_MINI, write_small_model

WORDS = ["a dog", "the cat on the beach", "red car", "狗 on the beach", "猫"]


def photos(folder, count=6) -> list[Photo]:
    """Captioned photos of one colour each."""
    colours = list(COLOURS)
    return [Photo(save_photo(folder / f"{i}.png", colours[i]), tuple(WORDS[:2]), (WORDS[3],), ()) for i in range(count)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model with 8-bit graphs."""
    folder = write_small_model(tmp_path_factory.mktemp("model"))
    write_int8_graphs(folder, feeds_of(folder, photos(tmp_path_factory.mktemp("photos"))), stays_float32)
    return folder


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.booleans(), st.booleans())
def test_a_product_in_8_bits_is_near_the_product(seed, alpha, turned, signed):
    rng = np.random.default_rng(seed)
    inputs = (rng.normal(size=(9, 24)) * rng.lognormal(0, 1, 24)).astype(np.float32)
    weight, bias = rng.normal(size=(24, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    steps = balanced_steps(np.abs(inputs).max(0), np.abs(weight).max(1), alpha)
    stored = weight.T if turned else weight
    made = constants(Product("w", "b", turned, "w"), stored, bias, steps, signed)
    rounded = np.rint(inputs * made["w:inverse"])
    assert np.abs(rounded).max() <= int8.LARGEST
    sums = rounded @ (made["w:codes"].astype(np.float32) - made["w:zero"]) + made["w:bias"]
    exact = inputs @ weight + bias
    assert np.abs(sums * made["w:scales"] - exact).max() < 0.25 * np.abs(exact).max()


def test_the_columns_of_both_sides_are_balanced():
    steps = balanced_steps(np.array([1.0, 100.0]), np.array([1.0, 1.0]), 1.0)
    np.testing.assert_allclose(steps, [1 / 127, 100 / 127], rtol=1e-5)
    assert np.ptp(balanced_steps(np.array([1.0, 100.0]), np.array([1.0, 1.0]), 0.0)) == 0


@pytest.mark.parametrize("signed", [True, False])
def test_a_model_in_8_bits_gives_nearly_the_same_numbers(model, tmp_path, monkeypatch, signed):
    exact = open_encoder(model)
    monkeypatch.setenv("PANOPTES_PRECISION", "int8")
    monkeypatch.setattr(onnx_graphs, "has_wide_dot_products", lambda: signed)
    rounded = open_encoder(model)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 56, 56, 3)).astype(np.uint8)
    here, there = exact.encode_images(pixels), rounded.encode_images(pixels)
    assert 0 < np.abs(here.vectors - there.vectors).max() < 0.1
    texts, other = exact.encode_texts(WORDS), rounded.encode_texts(WORDS)
    assert 0 < np.abs(texts.vectors - other.vectors).max() < 0.1
    logits, near = exact.match(texts, here.tokens), rounded.match(other, here.tokens)
    assert np.abs(logits - near).max() < 0.3 * np.ptp(logits)
    assert rounded.fingerprint == exact.fingerprint


def test_feeds_are_made_for_all_three_entries(model, tmp_path):
    feeds = feeds_of(model, photos(tmp_path, 3))
    assert feeds.keys() == {"images", "texts", "match"}
    assert sum(len(one[0]) for one in feeds["images"]) == 3
    assert sum(len(one[0]) for one in feeds["match"]) == sum(len(one[0]) for one in feeds["texts"]) == 9


def test_photos_without_captions_give_no_feeds(model, tmp_path):
    bare = [dataclasses.replace(photo, english=(), chinese=()) for photo in photos(tmp_path, 2)]
    with pytest.raises(BadTrainingData, match="no captioned photos"):
        feeds_of(model, bare)


def test_products_that_lose_too_much_stay_float32(model):
    record = json.loads((model / "graphs" / "int8" / int8.RECORD).read_text())
    kept = {name for one in record["graphs"].values() for name in one["weights"]}
    rounded = {product["weight"] for one in record["graphs"].values() for product in one["products"]}
    assert any(name.endswith("mlp.fc2.weight") for name in kept)
    assert not any(name.endswith("mlp.fc2.weight") for name in rounded)
    assert any(name.endswith("mlp.fc1.weight") for name in rounded)


@pytest.mark.parametrize("damage, expected", [
    (lambda folder: (folder / int8.RECORD).unlink(), "are not there"),
    (lambda folder: (folder / int8.RECORD).write_text("{"), "can't be read"),
    (lambda folder: (folder / int8.STEPS).write_bytes(b"x"), "can't be read"),
    (lambda folder: (folder / "texts.onnx").write_bytes((folder / "texts.onnx").read_bytes()[:100]), "damaged (texts.onnx)"),
])  # fmt: skip
def test_damaged_graphs_are_one_line_with_the_remedy(tmp_path, model, damage, expected):
    copy = shutil.copytree(model, tmp_path / "copy")
    damage(copy / "graphs" / int8.FOLDER)
    with pytest.raises(NoInt8Graphs) as caught:
        read_int8_graphs(copy, open_encoder(copy).fingerprint, True)
    message = error_line(caught.value)
    assert expected in message and f"model quantize {copy}" in message and "\n" not in message


def test_an_export_leaves_8_bit_graphs_in_place(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    assert copy_kept_graphs(copy, SMALL_MINI)
    assert read_int8_graphs(copy, open_encoder(copy).fingerprint, True)[0].keys() == {"images", "texts", "match"}


def test_graphs_of_other_weights_are_refused(model):
    with pytest.raises(NoInt8Graphs, match="other weights"):
        read_int8_graphs(model, "0" * 16, True)


def test_an_unknown_precision_is_refused(model, monkeypatch):
    monkeypatch.setenv("PANOPTES_PRECISION", "int4")
    with pytest.raises(UnknownPrecision, match="float32 or int8"):
        open_encoder(model)


def test_the_command_makes_8_bit_graphs_and_a_search_uses_them(tmp_path):
    model = write_small_model(tmp_path / "model")
    source = tmp_path / "photos.jsonl"
    rows = [{"image": str(photo.path), "captions": {"en": list(photo.english)}} for photo in photos(tmp_path)]
    source.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert read_photos(source)
    int8_set = {"PANOPTES_PRECISION": "int8"}
    refused = manage("build-index", source, "--home", tmp_path / "home", "--model", model, **int8_set)
    assert refused.returncode == 2 and "model quantize" in refused.stderr and "Traceback" not in refused.stderr
    made = manage("model", "quantize", model, "--data", source, "--home", tmp_path / "home", **int8_set)
    assert made.returncode == 0 and "products in 8 bits" in made.stdout, made.stderr
    built = manage("build-index", source, "--home", tmp_path / "home", "--model", model, **int8_set)
    assert built.returncode == 0, built.stderr
    for environment in (int8_set, {}):
        found = manage("search", "a dog", "--json", "--home", tmp_path / "home", "--model", model, **environment)
        assert found.returncode == 0 and len(json.loads(found.stdout)["hits"]) == 6, found.stderr
    assert read_config(model) == SMALL_MINI
