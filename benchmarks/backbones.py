"""Compares frozen image backbones by a linear fit on their features: the reason for opt-mini's choice of backbones.

    python -m benchmarks.backbones --data flickr8k-cn/train.jsonl --val flickr8k-cn/val.jsonl

A ridge regression maps the pooled features of training photos to the mean of the teacher's vectors of their English captions.
Every English caption of the validation photos is then a query for its photo. Needs requirements-train.txt.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import numpy as np

from encoder.config import PRESETS
from encoder.inputs.image_inputs import PixelInput
from encoder.network.opt import OptModel
from encoder.runtime.device import use_device
from encoder.training.dataset import Photo, read_photos
from encoder.training.features import BATCH, pixels_of
from encoder.training.prepare import backbone_weights, set_parameters
from encoder.training.teacher import Teacher
from encoder.training.train import SETTINGS, read_settings

RIDGES = (1e2, 3e2, 1e3, 3e3, 1e4)
SIZES = (168, 196, 224)


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--val", "validation", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--photos", default=1400, show_default=True, help="Training photos to fit on.")
@click.option("--asked", default=600, show_default=True, help="Validation photos to search for.")
@click.option("--packages", type=click.Path(path_type=Path), default=Path("var/packages"), show_default=True)
def main(data: Path, validation: Path, photos: int, asked: int, packages: Path) -> None:
    """Print R@1, R@5 and R@10 of English text to image for each backbone, with the ridge that is best for it."""
    use_device()
    fitted, held_out = read_photos(data)[:photos], read_photos(validation)[:asked]
    teacher = Teacher()
    targets = np.stack([teacher.encode(list(photo.english)).mean(0) for photo in fitted])
    queries = np.concatenate([teacher.encode(list(photo.english)) for photo in held_out])
    right = np.repeat(np.arange(asked), [len(photo.english) for photo in held_out])
    features_of = {}
    for size in SIZES:
        vit, conv = pooled(size, fitted + held_out, packages)
        features_of[f"ViT-S/14 at {size}"] = vit
        if size == PRESETS["opt-mini"].image_size:
            features_of[f"EfficientNet-B3 at {size}"] = conv
            features_of[f"both at {size}"] = np.concatenate([vit, conv], 1)
    for name, features in features_of.items():
        found = max((recalls(features, targets, queries, right, ridge) for ridge in RIDGES), key=sum)
        print(f"{name:24}" + "".join(f"{value:7.1f}" for value in found), flush=True)


def pooled(size: int, photos: list[Photo], packages: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pooled features of photos.

    Returns:
        The ViT's class token and mean patch [n, 2 W], and the convolutional backbone's mean cell [n, F].
    """
    from mindspore import Tensor

    config = dataclasses.replace(PRESETS["opt-mini"], image_size=size, merge=1)
    model = OptModel(config)
    set_parameters(model, backbone_weights(config, read_settings(SETTINGS), packages))
    images = model.set_train(False).uniter.img_embeddings
    vit, conv = [], []
    for start in range(0, len(photos), BATCH):
        pixels = Tensor(pixels_of(photos[start : start + BATCH], PixelInput(size, config.preprocessing), mirrored=False)[0])
        tokens = images.vit(pixels).asnumpy()
        vit.append(np.concatenate([tokens[:, 0], tokens[:, 1 + config.registers :].mean(1)], 1))
        conv.append(images.conv(images.vit.normalised(pixels)).asnumpy().mean(1))
    return np.concatenate(vit)[: len(photos)], np.concatenate(conv)[: len(photos)]


def recalls(features: np.ndarray, targets: np.ndarray, queries: np.ndarray, right: np.ndarray, ridge: float) -> list[float]:
    """R@1, R@5 and R@10 in percent after a ridge regression.

    Args:
        features: [n + m, F] of n training photos, then of the m photos that are searched.
        targets: [n, D], what the features of the training photos are mapped to.
        queries: [q, D].
        right: [q], the number of the photo that each query is for.
        ridge: the strength of the regularisation.
    """
    count = len(targets)
    scaled = (features - features[:count].mean(0)) / (features[:count].std(0) + 1e-6)
    fitted, held_out, mean = scaled[:count], scaled[count:], targets.mean(0)
    gram = fitted @ fitted.T + ridge * fitted.shape[1] / PRESETS["opt-mini"].hidden_size * np.eye(count)
    predicted = held_out @ fitted.T @ np.linalg.solve(gram, targets - mean)
    centred = queries - mean
    similar = centred @ (predicted / np.linalg.norm(predicted, axis=1, keepdims=True)).T
    ranks = (similar >= similar[np.arange(len(right)), right][:, None]).sum(1)
    return [100 * float((ranks <= k).mean()) for k in (1, 5, 10)]


if __name__ == "__main__":
    main()
