"""Parts of the stages `joint` and `match`: groups, word similarities, calibration; and training on from a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image

from encoder.config import PRESETS
from encoder.errors import BadTrainingData
from encoder.model_folder import read_config, read_weights
from encoder.network.opt import OptModel
from encoder.runtime.device import use_device
from encoder.training.calibration import fit_calibration
from encoder.training.corpus import CaptionedPhotos, Captions
from encoder.training.dataset import Photo
from encoder.training.features import ConcatenatedRows, FrozenFeatures, concatenated
from encoder.training.matching import Neighbours, draw_group
from encoder.training.objectives import MatchObjective, word_similarities
from encoder.training.train import _hold_out
from encoder.training.validation import Reranking, mirrored_order
from tests.support.small_models import SMALL_MINI, write_small_model

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    use_device()


def context_of_captions(teacher_vectors: np.ndarray) -> SimpleNamespace:
    """A context of photos with an English caption each, which have these teacher's vectors."""
    count = len(teacher_vectors)
    captions = Captions([str(i) for i in range(count)], np.arange(1, count + 1, dtype=np.int32)[:, None], teacher_vectors)
    nothing = [np.array([], np.int64)] * count
    return SimpleNamespace(
        captions=captions, train=CaptionedPhotos(None, [np.array([i]) for i in range(count)], nothing, nothing)
    )


def test_a_group_is_a_photo_and_different_photos_near_it():
    context = context_of_captions(np.eye(6, dtype=np.float32))
    nearest = np.array([[(i + 1) % 6, (i + 2) % 6, (i + 3) % 6] for i in range(6)])
    neighbours = Neighbours((np.arange(6, dtype=np.float16)[:, None, None],), nearest)
    for seed in range(20):
        ids, tokens, ambiguous = draw_group(context, neighbours, np.random.default_rng(seed), 3, short=True)
        photos = tokens[:, 0, 0].astype(int)
        assert len(set(photos)) == 3 and set(photos[1:]) <= set(nearest[photos[0]])
        np.testing.assert_array_equal(ids[:, 0], photos + 1)
        np.testing.assert_array_equal(ambiguous, np.eye(3))


def test_captions_of_one_meaning_are_ambiguous_for_each_others_photos():
    context = context_of_captions(np.ones((4, 2), np.float32) / np.sqrt(2))
    neighbours = Neighbours((np.zeros((4, 1, 1), np.float16),), np.array([[j for j in range(4) if j != i] for i in range(4)]))
    _, _, ambiguous = draw_group(context, neighbours, np.random.default_rng(0), 4, short=True)
    assert ambiguous.all()


@pytest.mark.usefixtures("step_by_step")
def test_an_ambiguous_pair_changes_no_loss():
    model, rng = OptModel(SMALL_MINI), np.random.default_rng(0)
    objective = MatchObjective(model, 2, 0.0).set_train(False)
    ids = np.array([[2, 5, 3], [2, 6, 3]], np.int32)
    tokens = rng.normal(0, 1, (2, *SMALL_MINI.token_shape)).astype(np.float32)
    everything = float(objective(Tensor(ids), Tensor(tokens), Tensor(np.eye(2, dtype=np.float32)[None])).asnumpy())
    nothing = float(objective(Tensor(ids), Tensor(tokens), Tensor(np.ones((1, 2, 2), np.float32))).asnumpy())
    assert nothing < everything


@pytest.mark.usefixtures("step_by_step")
def test_words_are_compared_with_their_best_cell_and_padding_with_none():
    model, rng = OptModel(SMALL_MINI), np.random.default_rng(1)
    states = rng.normal(0, 1, (2, 4, SMALL_MINI.hidden_size)).astype(np.float32)
    tokens = rng.normal(0, 1, (3, 5, SMALL_MINI.hidden_size)).astype(np.float32)
    ids = np.array([[2, 5, 3, 0], [2, 5, 6, 3]], np.int32)
    found = word_similarities(model, Tensor(states), Tensor(ids), Tensor(tokens)).asnumpy()

    def units(x, layer):
        x = x @ layer.weight.asnumpy().T + layer.bias.asnumpy()
        return x / np.sqrt(np.maximum((x * x).sum(-1, keepdims=True), 1e-4))

    words, cells = units(states, model.text_proj), units(tokens, model.vision_proj)
    for c, length in enumerate((3, 4)):
        for b in range(3):
            assert found[c, b] == pytest.approx((words[c, :length] @ cells[b].T).max(1).mean(), abs=1e-5)


def test_the_cells_of_a_mirrored_photo_are_in_reversed_order():
    np.testing.assert_array_equal(mirrored_order(2), [0, 2, 1, 4, 3])
    twice = mirrored_order(7)[mirrored_order(7)]
    np.testing.assert_array_equal(twice, np.arange(50))


def test_features_of_several_groups_are_read_as_one():
    parts = [np.arange(6).reshape(3, 2), np.arange(6, 10).reshape(2, 2)]
    rows, whole = ConcatenatedRows(parts), np.concatenate(parts)
    assert len(rows) == 5
    for i in range(5):
        np.testing.assert_array_equal(rows[i], whole[i])
    np.testing.assert_array_equal(rows[1:9], whole[1:9])
    both = concatenated([FrozenFeatures((part, part), part) for part in parts])
    assert len(both) == 5 and len(both.trunks) == 2


def test_the_match_probability_is_the_share_of_queries_with_a_match_at_that_score():
    rng = np.random.default_rng(0)
    matched, unmatched = rng.normal(0, 1, (3000, 8)), rng.normal(0, 1, (1000, 8))
    matched[:, 3] += rng.normal(3, 1, 3000)
    a, m, b = fit_calibration(matched, unmatched)

    def probability(scores):
        return 1 / (1 + np.exp(-(a * scores.max(1) + m * scores.mean(1) + b)))

    assert a > 0.5
    both = np.concatenate([probability(matched), probability(unmatched)])
    fits, counts = np.repeat([1.0, 0.0], [3000, 1000]), np.repeat([1.0, 3.0], [3000, 1000])
    for low, high in ((0.05, 0.3), (0.3, 0.7), (0.7, 0.98)):
        within = (both > low) & (both < high)
        share = (fits * counts)[within].sum() / counts[within].sum()
        assert np.average(both[within], weights=counts[within]) == pytest.approx(share, abs=0.08)


def test_a_reranking_counts_ties_and_photos_below_the_candidates_as_misses():
    found = object.__new__(Reranking)
    found.similarities = np.array([[0.9, 0.8, 0.1], [0.9, 0.8, 0.1], [0.5, 0.5, 0.1]])
    found.right, found.best = np.array([1, 2, 0]), np.array([[0, 1], [0, 1], [0, 1]])
    found.logits = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    assert found.recall(0.0, 1) == pytest.approx(100 / 3)
    assert found.recall(1000.0, 1) == 0


def test_the_same_tenth_is_held_out_each_time():
    photos = [Photo(Path(f"{i}.jpg"), ("a",), (), ()) for i in range(40)]
    groups, held_out = _hold_out([photos[:15], photos[15:]], seed=3)
    assert len(held_out) == 4 and sorted(p.path for g in groups for p in g + held_out[:0]) == sorted(
        p.path for p in photos if p not in held_out
    )
    assert _hold_out([photos[:15], photos[15:]], seed=3) == (groups, held_out)
    with pytest.raises(BadTrainingData, match="least"):
        _hold_out([photos[:3]], seed=3)


def test_the_convolutional_backbone_has_the_grid_of_the_merged_patches():
    config = PRESETS["opt-mini"]
    side = config.image_size
    for stride in (2, *(stage[2] for stage in config.grid_stages)):
        side = (side + 1) // 2 if stride == 2 else side
    assert side == config.grid // config.merge


def write_photos(folder: Path, count: int) -> Path:
    """A manifest of single-coloured squares, captioned in words that the small model knows."""
    rng = np.random.default_rng(0)
    with (folder / "mine.jsonl").open("w", encoding="utf-8") as lines:
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{i}.png")
            captions = {"en": ["a red dog on the beach" if i % 2 else "the cat on a car"], "zh": ["红狗" if i % 2 else "猫"]}
            lines.write(json.dumps({"image": f"{i}.png", "captions": captions}) + "\n")
    return folder / "mine.jsonl"


def test_train_from_a_model_makes_a_changed_model_that_can_build_an_index(tmp_path):
    start, manifest = write_small_model(tmp_path / "start"), write_photos(tmp_path, 24)
    options = {"--from": start, "--data": manifest, "--out": tmp_path / "out"}
    command = [sys.executable, "manage.py", "train", *(str(word) for option in options.items() for word in option)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    model = tmp_path / "out" / "model"
    assert read_config(model).hidden_size == read_config(start).hidden_size
    before, after = read_weights(start), read_weights(model)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert any(name.startswith("text_proj") for name in moved) and any(name.startswith("uniter.encoder") for name in moved)
    assert not any(".vit." in name or ".conv." in name for name in moved)
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert {row["stage"] for row in rows} == {"joint", "match"}
    environment = os.environ | {"PANOPTES_MODEL": str(model), "PANOPTES_HOME": str(tmp_path / "home")}
    built = subprocess.run([sys.executable, "manage.py", "build-index", str(manifest)], cwd=ROOT, env=environment, timeout=300)
    assert built.returncode == 0
