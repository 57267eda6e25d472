"""What the frozen parts of the image stream make of every training photo, computed once and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from encoder.errors import UnreadableImage
from encoder.inputs.image_inputs import LoadedImage, PixelInput
from encoder.inputs.pixels import decode
from encoder.network.opt import OptModel
from encoder.training.dataset import Photo, key_of

BATCH = 16
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Frozen:
    """Frozen features of photos, float16 and memory-mapped.

    `trunks` [n, T, W] are the ViT's tokens after its frozen layers, of each photo as it is and mirrored; `cells`
    [n, L, F] the second eye's features, their mean first, of the photo as it is.
    """

    trunks: tuple[np.ndarray | Rows, ...]
    cells: np.ndarray | Rows

    def __len__(self) -> int:
        return len(self.cells)


class Rows:
    """Several memory-mapped arrays read as one, row by row or by slices of rows, without copying them."""

    def __init__(self, parts: list[np.ndarray]):
        self.parts = parts
        self.starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, rows):
        if isinstance(rows, slice):
            return np.stack([self[row] for row in range(*rows.indices(len(self)))])
        part = int(np.searchsorted(self.starts, rows, "right")) - 1
        return self.parts[part][rows - self.starts[part]]


def joined(groups: list[Frozen]) -> Frozen:
    """The features of several groups of photos, one after the other."""
    trunks = zip(*(group.trunks for group in groups), strict=True)
    return Frozen(tuple(Rows(list(parts)) for parts in trunks), Rows([group.cells for group in groups]))


class _Trunk(nn.Cell):
    def __init__(self, model: OptModel, layers: int):
        super().__init__()
        self.images, self.layers = model.uniter.img_embeddings, layers

    def construct(self, pixels):
        """pixels float32 [B, 3, S, S] -> [B, T, W]."""
        return self.images.trunk(pixels, self.layers)


class _Grid(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.images = model.uniter.img_embeddings

    def construct(self, pixels):
        """pixels float32 [B, 3, S, S] -> [B, L, F]."""
        return self.images.grid_features(pixels)


class Extractor:
    """Runs the frozen parts over photos; goes on where an earlier call was cut off.

    A photo that cannot be read gets zeros. The caches are keyed by the photos' paths and the network's shape, not by its
    weights: give another folder for another backbone.
    """

    def __init__(self, model: OptModel, layers: int, folder: Path):
        self._inputs, self._folder, self._layers = model.config.inputs, folder, layers
        self._trunk, self._grid = (cell.set_train(False) for cell in (_Trunk(model, layers), _Grid(model)))

    def frozen(self, photos: list[Photo], mirrored: bool, progress: Progress = lambda done, total: None) -> Frozen:
        """Features of photos, with the mirrored trunk or without."""
        kinds = ("plain", "mirrored") if mirrored else ("plain",)
        name = f"trunk{self._layers}"
        trunks = tuple(self._cached(self._trunk, name, photos, kind == "mirrored", progress) for kind in kinds)
        return Frozen(trunks, self._cached(self._grid, "grid", photos, False, progress))

    def _cached(self, cell: nn.Cell, name: str, photos: list[Photo], mirrored: bool, progress: Progress) -> np.ndarray:
        seen = f"{self._inputs.size}{'' if self._inputs.preprocessing == 'squash' else self._inputs.preprocessing}"
        stem = f"{key_of(photos, seen)}-{name}{'-mirrored' if mirrored else ''}"
        values_path, state_path = self._folder / f"{stem}.npy", self._folder / f"{stem}.json"
        done = json.loads(state_path.read_text())["done"] if state_path.exists() else 0
        out = np.load(values_path, mmap_mode="r+") if done else None
        self._folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(1) as ahead:
            pending = ahead.submit(pixels_of, photos[done : done + BATCH], self._inputs, mirrored)
            while done < len(photos):
                pixels, readable = pending.result()
                pending = ahead.submit(pixels_of, photos[done + BATCH : done + 2 * BATCH], self._inputs, mirrored)
                values = cell(ms.Tensor(pixels)).asnumpy()
                if out is None:
                    shape = (len(photos), *values.shape[1:])
                    out = np.lib.format.open_memmap(values_path, mode="w+", dtype=np.float16, shape=shape)
                count = min(BATCH, len(photos) - done)
                out[done : done + count] = (values * readable[:, None, None])[:count]
                done += count
                if done % (BATCH * 32) == 0 or done == len(photos):
                    out.flush()
                    state_path.write_text(json.dumps({"done": done}))
                progress(done, len(photos))
        return np.load(values_path, mmap_mode="r")


def pixels_of(photos: list[Photo], inputs: PixelInput, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """A full batch, prepared as the model's config says: float32 [BATCH, 3, S, S], and 1 or 0 for what could be read."""
    size = inputs.size
    batch = np.zeros((BATCH, 3, size, size), np.float32)
    readable = np.zeros(BATCH, np.float32)
    for i, photo in enumerate(photos):
        try:
            pixels = inputs.make(LoadedImage(decode(photo.path, at_least=inputs.reduced_to), None))
        except UnreadableImage:
            continue
        batch[i] = (pixels[:, ::-1] if mirrored else pixels).transpose(2, 0, 1)
        readable[i] = 1
    return batch, readable
