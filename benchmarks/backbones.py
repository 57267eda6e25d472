"""What a linear fit on frozen features finds, backbone by backbone: why opt-mini has the eyes it has.

    python -m benchmarks.backbones --data flickr8k-cn/train.jsonl --val flickr8k-cn/val.jsonl

A ridge regression leads from pooled features of training photos to the mean of the teacher's vectors of their English
captions; every English caption of the validation photos then asks for its photo. Needs requirements-train.txt.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import numpy as np

from encoder.config import PRESETS
from encoder.network.opt import OptModel
from encoder.runtime.device import use_device
from encoder.training.dataset import read_photos
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
@click.option("--asked", default=600, show_default=True, help="Validation photos to ask for.")
@click.option("--packages", type=click.Path(path_type=Path), default=Path("var/packages"), show_default=True)
def main(data, validation, photos, asked, packages):
    """Print R@1, R@5 and R@10 of English text to image for each backbone, at the ridge that is best for it."""
    use_device()
    fitted, held_out = read_photos(data)[:photos], read_photos(validation)[:asked]
    teacher = Teacher()
    targets = np.stack([teacher.encode(list(photo.english)).mean(0) for photo in fitted])
    queries = np.concatenate([teacher.encode(list(photo.english)) for photo in held_out])
    right = np.repeat(np.arange(asked), [len(photo.english) for photo in held_out])
    seen = {}
    for size in SIZES:
        vit, conv = pooled(size, fitted + held_out, packages)
        seen[f"ViT-S/14 at {size}"] = vit
        if size == PRESETS["opt-mini"].image_size:
            seen[f"EfficientNet-B3 at {size}"] = conv
            seen[f"both at {size}"] = np.concatenate([vit, conv], 1)
    for name, features in seen.items():
        found = max((recalls(features, targets, queries, right, ridge) for ridge in RIDGES), key=sum)
        print(f"{name:24}" + "".join(f"{value:7.1f}" for value in found), flush=True)


def pooled(size: int, photos, packages: Path) -> tuple[np.ndarray, np.ndarray]:
    """The ViT's class token and mean patch [n, 2 W], and the second eye's mean cell [n, F]."""
    from mindspore import Tensor

    config = dataclasses.replace(PRESETS["opt-mini"], image_size=size, merge=1)
    model = OptModel(config)
    set_parameters(model, backbone_weights(config, read_settings(SETTINGS), packages))
    images = model.set_train(False).uniter.img_embeddings
    vit, conv = [], []
    for start in range(0, len(photos), BATCH):
        pixels = Tensor(pixels_of(photos[start : start + BATCH], size, mirrored=False)[0])
        tokens = images.vit(pixels).asnumpy()
        vit.append(np.concatenate([tokens[:, 0], tokens[:, 1 + config.registers :].mean(1)], 1))
        conv.append(images.conv(images.vit.normalised(pixels)).asnumpy().mean(1))
    return np.concatenate(vit)[: len(photos)], np.concatenate(conv)[: len(photos)]


def recalls(features, targets, queries, right, ridge: float) -> list[float]:
    """R@1, R@5, R@10 in percent after a fit on the first len(targets) rows, with the others as the photos asked for."""
    count = len(targets)
    scaled = (features - features[:count].mean(0)) / (features[:count].std(0) + 1e-6)
    known, asked, middle = scaled[:count], scaled[count:], targets.mean(0)
    gram = known @ known.T + ridge * known.shape[1] / PRESETS["opt-mini"].hidden_size * np.eye(count)
    found = asked @ known.T @ np.linalg.solve(gram, targets - middle)
    centred = queries - middle
    similar = centred @ (found / np.linalg.norm(found, axis=1, keepdims=True)).T
    ranks = (similar >= similar[np.arange(len(right)), right][:, None]).sum(1)
    return [100 * float((ranks <= k).mean()) for k in (1, 5, 10)]


if __name__ == "__main__":
    main()
