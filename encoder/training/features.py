"""Frozen backbone tokens of every training photo, computed once and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from encoder.errors import UnreadableImage
from encoder.network import OptModel
from encoder.pixels import decode, prepare
from encoder.training.dataset import Photo, key_of

BATCH = 16
VIEWS = ("plain", "mirrored")


class _Backbone(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.images = model.uniter.img_embeddings

    def construct(self, pixels):
        """pixels float32 [B, 3, S, S] -> merged ViT tokens [B, L, H]."""
        return self.images.backbone(pixels)


def backbone_tokens(model: OptModel, photos: list[Photo], folder: Path, view: str = "plain",
                    progress: Callable[[int, int], None] = lambda done, total: None) -> np.ndarray:
    """Tokens float16 [n, L, H] of the photos, memory-mapped; goes on where an earlier call was cut off.

    A photo that cannot be read gets zeros. `view` is one of VIEWS. The cache is keyed by the photos' paths, the view
    and the network's shape, not by the weights: give another folder for another backbone.
    """
    length, width = model.config.token_shape
    base = folder / f"{key_of(photos, view, model.config.name, str(model.config.image_size))}-{view}"
    tokens_path, state_path = base.with_suffix(".npy"), base.with_suffix(".json")
    done = json.loads(state_path.read_text())["done"] if state_path.exists() else 0
    if done == len(photos):
        return np.load(tokens_path, mmap_mode="r")
    folder.mkdir(parents=True, exist_ok=True)
    mode = "r+" if done else "w+"
    out = np.lib.format.open_memmap(tokens_path, mode=mode, dtype=np.float16, shape=(len(photos), length, width))
    network = _Backbone(model)
    with ThreadPoolExecutor(1) as ahead:
        pending = ahead.submit(_pixels, photos[done:done + BATCH], model.config.image_size, view)
        while done < len(photos):
            pixels, readable = pending.result()
            pending = ahead.submit(_pixels, photos[done + BATCH:done + 2 * BATCH], model.config.image_size, view)
            tokens = network(ms.Tensor(pixels)).asnumpy()
            count = min(BATCH, len(photos) - done)
            out[done:done + count] = (tokens * readable[:, None, None])[:count]
            done += count
            if done % (BATCH * 16) == 0 or done == len(photos):
                out.flush()
                state_path.write_text(json.dumps({"done": done}))
            progress(done, len(photos))
    return np.load(tokens_path, mmap_mode="r")


def _pixels(photos: list[Photo], size: int, view: str) -> tuple[np.ndarray, np.ndarray]:
    """A full batch: float32 [BATCH, 3, size, size], and 1 or 0 for what could be read."""
    batch = np.zeros((BATCH, 3, size, size), np.float32)
    readable = np.zeros(BATCH, np.float32)
    for i, photo in enumerate(photos):
        try:
            pixels = prepare(decode(photo.path, at_least=size), size)
        except UnreadableImage:
            continue
        batch[i] = (pixels[:, ::-1] if view == "mirrored" else pixels).transpose(2, 0, 1)
        readable[i] = 1
    return batch, readable
