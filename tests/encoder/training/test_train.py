"""Training: manifests, converted backbones, losses, and a stopped run that ends as if it had not been stopped."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from encoder.config import PRESETS, OptConfig
from encoder.errors import BadCheckpoint, BadTrainingData
from encoder.network.opt import OptModel
from encoder.runtime.device import use_device
from encoder.training.backbone import convert_dinov2, resize_positions
from encoder.training.corpus import CaptionedPhotos, synthesize
from encoder.training.dataset import read_photos
from encoder.training.loop import Schedule, Stage
from encoder.training.objectives import Contrast
from encoder.training.plot import plot_run
from encoder.training.torch_file import read_torch_file
from encoder.training.validation import recall
from tests.support.small_models import SMALL_MINI
from tests.support.torch_files import write_torch_file


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    use_device()


def test_a_manifest_gives_photos_with_captions_by_origin(tmp_path):
    row = {
        "image": "a.jpg",
        "captions": {"en": ["A dog .", " "], "zh": ["狗。"]},
        "machine_translated": {"zh": {"one": ["一只狗"], "two": ["狗儿"]}},
    }
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n\n", encoding="utf-8")
    (photo,) = read_photos(tmp_path / "m.jsonl")
    assert photo.path == tmp_path / "a.jpg"
    assert photo.english == ("A dog .",) and photo.chinese == ("狗。",) and photo.translated == ("一只狗", "狗儿")


@pytest.mark.parametrize("line", ["not json", "[]", '{"image": "a.jpg"}', '{"image": 3, "captions": {}}'])
def test_the_error_names_the_line_that_cannot_be_used(tmp_path, line):
    (tmp_path / "m.jsonl").write_text('{"image": "a.jpg", "captions": {}}\n' + line)
    with pytest.raises(BadTrainingData, match="line 2"):
        read_photos(tmp_path / "m.jsonl")


def test_a_torch_file_is_read_without_torch(tmp_path):
    weights = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([7], np.float16)}
    read = read_torch_file(write_torch_file(tmp_path / "w.pt", weights))
    assert read.keys() == weights.keys()
    for name in weights:
        np.testing.assert_array_equal(read[name], weights[name])


def test_a_torch_file_that_names_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("hello",))

    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"a": Evil()}))
    with pytest.raises(BadCheckpoint, match="print"):
        read_torch_file(tmp_path / "evil.pt")


def test_the_converted_backbone_computes_what_dinov2_computes(tmp_path):
    rng = np.random.default_rng(0)
    width, inner, grid = SMALL_MINI.hidden_size, SMALL_MINI.image_intermediate, SMALL_MINI.grid
    shapes = {
        "cls_token": (1, 1, width),
        "register_tokens": (1, 4, width),
        "pos_embed": (1, 1 + grid**2, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for i in range(SMALL_MINI.image_layers):
        for name, (out, into) in {
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            "mlp.fc1": (inner, width),
            "mlp.fc2": (width, inner),
        }.items():
            shapes |= {f"blocks.{i}.{name}.weight": (out, into), f"blocks.{i}.{name}.bias": (out,)}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{i}.{name}"] = (width,)
    state = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    converted = convert_dinov2(write_torch_file(tmp_path / "dino.pt", state), SMALL_MINI)

    model = OptModel(SMALL_MINI)
    parameters = dict(model.parameters_and_names())
    for name, value in converted.items():
        parameters[name].set_data(Tensor(value))
    pixels = rng.integers(0, 256, (1, 3, 56, 56)).astype(np.float32)
    ours = model.uniter.img_embeddings.vit(Tensor(pixels)).asnumpy()[0]
    np.testing.assert_allclose(ours, dinov2_forward(state, pixels[0], SMALL_MINI), atol=2e-3)


def dinov2_forward(state: dict[str, np.ndarray], pixels: np.ndarray, config: OptConfig) -> np.ndarray:
    """Run DINOv2 with registers as published: LayerScale after each projection, one qkv matrix."""
    mean, std = (np.array(v).reshape(3, 1, 1) for v in (config.image_mean, config.image_std))
    x = (pixels / 255 - mean) / std
    kernel = state["patch_embed.proj.weight"]
    patches = np.stack(
        [
            np.tensordot(kernel, x[:, r : r + 14, c : c + 14], 3) + state["patch_embed.proj.bias"]
            for r in range(0, 56, 14)
            for c in range(0, 56, 14)
        ]
    )
    x = np.concatenate([state["cls_token"][0], patches]) + state["pos_embed"][0]
    x = np.concatenate([x[:1], state["register_tokens"][0], x[1:]])

    def norm(v: np.ndarray, name: str) -> np.ndarray:
        v = v - v.mean(-1, keepdims=True)
        return v / np.sqrt((v * v).mean(-1, keepdims=True) + 1e-6) * state[f"{name}.weight"] + state[f"{name}.bias"]

    for i in range(config.image_layers):
        b, size = f"blocks.{i}.", config.hidden_size // config.image_heads
        qkv = norm(x, f"{b}norm1") @ state[f"{b}attn.qkv.weight"].T + state[f"{b}attn.qkv.bias"]
        heads = qkv.reshape(len(x), 3, config.image_heads, size).transpose(1, 2, 0, 3)
        scores = heads[0] @ heads[1].transpose(0, 2, 1) / np.sqrt(size)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (weights / weights.sum(-1, keepdims=True) @ heads[2]).transpose(1, 0, 2).reshape(len(x), -1)
        x = x + state[f"{b}ls1.gamma"] * (mixed @ state[f"{b}attn.proj.weight"].T + state[f"{b}attn.proj.bias"])
        h = norm(x, f"{b}norm2") @ state[f"{b}mlp.fc1.weight"].T + state[f"{b}mlp.fc1.bias"]
        h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
        x = x + state[f"{b}ls2.gamma"] * (h @ state[f"{b}mlp.fc2.weight"].T + state[f"{b}mlp.fc2.bias"])
    return norm(x, "norm")


def test_positions_keep_the_class_token_and_their_layout():
    row = np.arange(4, dtype=np.float32)
    positions = np.concatenate([[[99.0]], np.repeat(row, 4)[:, None]]).astype(np.float32)
    resized = resize_positions(positions, 2)
    assert resized[0, 0] == 99
    grid = resized[1:, 0].reshape(2, 2)
    assert (np.diff(grid, axis=0) > 0.5).all() and np.allclose(np.diff(grid, axis=1), 0, atol=1e-5)


def contrast(images: np.ndarray, texts: np.ndarray, teacher_vectors: np.ndarray, owners: list[int]) -> float:
    """The loss of images with texts."""
    objective = Contrast(OptModel(SMALL_MINI))
    similarities = np.asarray(texts @ images.T, np.float32)
    arrays = (similarities, np.asarray(teacher_vectors, np.float32), np.asarray(owners, np.int32))
    return float(objective(*(Tensor(a) for a in arrays)).asnumpy())


def test_contrast_is_lower_if_captions_are_near_their_photos():
    photos = np.eye(3, 16)
    captions = np.concatenate([photos, photos])
    owners = [0, 1, 2, 0, 1, 2]
    teacher_vectors = np.eye(6, 16)
    assert contrast(photos, captions, teacher_vectors, owners) < contrast(photos, captions[::-1], teacher_vectors, owners)


def test_a_sentence_that_fits_two_photos_is_a_negative_for_neither():
    photos, owners = np.eye(2, 16), [0, 1]
    captions = np.repeat(photos.mean(0, keepdims=True), 2, 0)
    different, same = np.eye(2, 16), np.ones((2, 16)) / 4
    assert contrast(photos, captions, same, owners) == pytest.approx(0, abs=1e-3)
    assert contrast(photos, captions, different, owners) > 0.5


class Bowl(nn.Cell):
    """A loss that is smallest where `weight` equals the batch."""

    def __init__(self):
        super().__init__()
        self.weight = Parameter(Tensor(np.zeros((2, 2), np.float32)), name="weight")

    def construct(self, target: Tensor) -> Tensor:
        return ((self.weight - target) ** 2).sum()


def run_bowl(folder: Path, steps: int, stop_at: int | None = None) -> np.ndarray:
    bowl = Bowl()

    def batch(step: int) -> tuple[np.ndarray, ...]:
        if step == stop_at:
            raise KeyboardInterrupt
        return (np.random.default_rng(step).normal(3, 0.1, (2, 2)).astype(np.float32),)

    stage = Stage("bowl", bowl, {"weight": bowl.weight}, Schedule(steps=steps, rate=0.3, warmup=2, validate_every=10), folder)
    stage.run(batch, lambda: {"val R@10": 1.0}, lambda line: None)
    return bowl.weight.asnumpy()


def test_a_stage_minimises_its_objective_and_writes_a_log_that_can_be_plotted(tmp_path):
    assert np.abs(run_bowl(tmp_path, 200) - 3).max() < 0.3
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 200 and rows[-1]["loss"] < rows[0]["loss"]
    plot_run(tmp_path / "log.jsonl", tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_a_stopped_stage_ends_as_if_it_had_not_been_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("encoder.training.loop.SAVE_SECONDS", 0)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    expected = run_bowl(whole, 20)
    with pytest.raises(KeyboardInterrupt):
        run_bowl(killed, 20, stop_at=13)
    np.testing.assert_allclose(run_bowl(killed, 20), expected, atol=1e-6)


def test_two_captions_are_drawn_and_the_first_is_english():
    photos = CaptionedPhotos(None, [np.array([1, 2])], [np.array([3])], [np.array([4, 5])])
    drawn = {photos.draw(0, np.random.default_rng(seed)) for seed in range(60)}
    assert {first for first, _ in drawn} == {1, 2} and {second for _, second in drawn} == {3, 4, 5}


def test_synthetic_sentences_are_the_same_for_the_same_seed():
    captions, words = ["a dog runs", "一只狗在跑"], {"en": ["pizza", "clock"], "zh": ["披萨", "钟"]}
    made = synthesize(captions, words, 50, seed=1)
    assert made == synthesize(captions, words, 50, seed=1)
    assert any("pizza" in text for text in made) and any("披萨" in text for text in made)


def test_recall_counts_ties_as_misses():
    similarities = np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.5]])
    assert recall(similarities, np.array([0, 1]), 1) == 50
    assert recall(similarities, np.array([0, 1]), 3) == 100


def test_opt_mini_is_the_preset_of_the_settings():
    import tomllib

    from encoder.training.train import SETTINGS

    assert tomllib.loads(SETTINGS.read_text())["preset"] in PRESETS
