"""Two encoders as one: the vectors of the first, the tokens and match logits of the second."""

from __future__ import annotations

import numpy as np
import pytest

from encoder.errors import NoAttention, NoVectors
from encoder.importing.importer import import_model
from encoder.inputs.image_inputs import Files, LoadedImage, PixelInput, RegionInput, load_image
from encoder.inputs.pixels import prepare
from encoder.inputs.regions import read_regions
from encoder.registry import ModelRegistry
from encoder.runtime.pair import PairedEncoder, paired_fingerprint
from encoder.selection import ModelSelection
from tests.support.fakes import FakeConfig, FakeEncoder, photo
from tests.support.published_models import write_published
from tests.support.published_single_stream import v1_weights, write_single_stream
from tests.support.region_fakes import FakeRegionEncoder, save_features

SECOND = FakeConfig(
    name="second", image_size=64, preprocessing="resize_crop", token_shape=(2, 6), first_stage_weight=0.0, languages=("zh",)
)


@pytest.fixture
def pair():
    return PairedEncoder(FakeEncoder(), FakeEncoder("fake00000000000b", SECOND))


def test_each_model_does_its_own_part(pair):
    image = photo("red", (96, 64))
    seen = pair.config.inputs.make(LoadedImage(image, None))
    np.testing.assert_array_equal(seen["first"], prepare(image, 32, "squash"))
    np.testing.assert_array_equal(seen["second"], prepare(image, 64, "resize_crop"))
    images, texts = pair.encode_images(np.stack([seen, seen])), pair.encode_texts(["red", "blue"])
    assert images.vectors.shape == (2, 16) and images.tokens.shape == (2, 2, 6) and len(texts) == 2
    np.testing.assert_array_equal(texts.vectors, pair.first.encode_texts(["red", "blue"]).vectors)
    logits = pair.match(texts, images.tokens)
    assert logits[0] > logits[1]
    assert [call for call, _ in pair.second.calls] == ["encode_images", "encode_texts", "match"]
    assert "match" not in [call for call, _ in pair.first.calls]


def test_the_second_model_reads_texts_only_when_they_are_matched(pair):
    pair.encode_texts(["red"] * 5)
    assert pair.second.calls == []


def test_a_pair_explains_the_second_model(pair):
    images = pair.encode_images(np.stack([pair.config.inputs.make(LoadedImage(photo("red"), None))] * 2))
    texts = pair.encode_texts(["red"])
    weights = pair.explain(texts, images.tokens)
    np.testing.assert_array_equal(weights, pair.second.explain(pair.second.encode_texts(["red"]), images.tokens))
    assert pair.spans("red wall") == pair.second.spans("red wall") and texts.lengths.tolist() == [3]
    assert pair.match_batches == pair.second.match_batches
    assert (pair.config.token_grid, pair.config.preprocessing) == (SECOND.token_grid, "resize_crop")
    assert "explain" not in [call for call, _ in pair.first.calls]


def test_a_second_model_without_cross_attention_raises_no_attention():
    pair = PairedEncoder(FakeEncoder(), FakeRegionEncoder())
    assert pair.config.token_grid is None
    with pytest.raises(NoAttention, match="fake-regions"):
        pair.explain(pair.encode_texts(["red"]), np.zeros((1, *pair.config.token_shape), np.float16))


def test_a_sentence_that_is_matched_twice_is_encoded_once(pair):
    texts, tokens = pair.encode_texts(["red"]), np.zeros((1, 2, 6), np.float16)
    for _ in range(2):
        pair.match(texts, tokens)
    assert [call for call, _ in pair.second.calls] == ["encode_texts", "match", "match"]


def test_the_config_combines_both_configs(pair):
    config = pair.config
    assert (config.dim, config.token_shape, config.first_stage_weight, config.match_calibration) == (16, (2, 6), 0.0, None)
    assert config.languages == ("zh",) and config.name == "fake + second"
    other = PairedEncoder(FakeEncoder(config=FakeConfig(languages=("en",))), pair.second)
    assert other.config.languages == ("zh",)


def test_the_fingerprint_contains_both_in_order(pair):
    assert pair.fingerprint == "fake000000000001+fake00000000000b"
    assert paired_fingerprint("a", "b") != paired_fingerprint("b", "a")
    assert paired_fingerprint("a", None) == "a"


def test_one_model_may_read_pixels_and_the_other_regions(tmp_path):
    pair = PairedEncoder(FakeEncoder(), FakeRegionEncoder())
    path = tmp_path / "a.png"
    photo("blue").save(path)
    inputs = pair.config.inputs
    assert inputs.takes_photo and inputs.region_width == 8
    made = inputs.make(load_image(Files(str(path), str(save_features(tmp_path / "a.npz", "red"))), inputs))
    images = pair.encode_images(np.stack([made] * 3))
    texts = pair.encode_texts(["blue", "red"])
    assert (images.vectors[0] @ texts.vectors.T).argmax() == 0  # the first model reads the photo
    assert pair.match(texts, images.tokens[:1]).argmax() == 1  # the second model reads the regions


@pytest.mark.parametrize("inputs", [PixelInput(5), RegionInput(3, 4)])
def test_arrays_have_the_shape_and_dtype_of_the_input(inputs, tmp_path):
    regions = read_regions(save_features(tmp_path / "a.npz", feat=np.ones((4, 4))), 4)
    made = inputs.make(LoadedImage(photo("red"), regions))
    assert (made.shape, made.dtype) == (inputs.shape, inputs.dtype)


def test_a_model_that_only_reranks_cannot_be_the_first(tmp_path):
    models = ModelRegistry(tmp_path / "models")
    first = import_model(write_published(tmp_path / "v2"), models, "taichu")
    second = import_model(write_single_stream(tmp_path / "v1", v1_weights()), models, "v1")
    with pytest.raises(NoVectors, match="--reranker"):
        ModelSelection(models.path("v1"))
    chosen = ModelSelection(models.path("taichu"), models.path("v1"))
    assert chosen.fingerprint == f"{first.fingerprint}+{second.fingerprint}"
    assert chosen.config.dim == 32 and chosen.config.token_shape == (9, 128)
    assert models.made_by(chosen.fingerprint) == "--model taichu --reranker v1"
    assert models.made_by(first.fingerprint) == "--model taichu"
    assert models.made_by(f"{first.fingerprint}+0123456789abcdef") is None and models.made_by("") is None
