"""Features of all photos from the frozen parts of the image stream, computed once and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mindspore import Tensor, nn

from encoder.errors import UnreadableImage
from encoder.inputs.image_inputs import LoadedImage, PixelInput
from encoder.inputs.pixels import decode
from encoder.network.opt import OptModel
from encoder.training.dataset import Photo, key_of

BATCH = 16
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FrozenFeatures:
    """Features of photos from the frozen parts, float16 and memory-mapped.

    Attributes:
        trunks: the ViT's tokens after its frozen layers [n, T, W], of photos as they are and, if there are two, mirrored.
        cells: features of the convolutional backbone [n, L, F], their mean first, of photos as they are.
    """

    trunks: tuple[np.ndarray | ConcatenatedRows, ...]
    cells: np.ndarray | ConcatenatedRows

    def __len__(self) -> int:
        return len(self.cells)


class ConcatenatedRows:
    """Several memory-mapped arrays, read as one by row or by slice. Only the rows that are read are copied."""

    def __init__(self, parts: Sequence[np.ndarray | ConcatenatedRows]):
        self.parts = parts
        self.starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, rows: int | slice) -> np.ndarray:
        if isinstance(rows, slice):
            return np.stack([self[row] for row in range(*rows.indices(len(self)))])
        part = int(np.searchsorted(self.starts, rows, "right")) - 1
        return self.parts[part][rows - self.starts[part]]


def concatenated(groups: list[FrozenFeatures]) -> FrozenFeatures:
    """Concatenate the features of several groups of photos."""
    trunks = zip(*(group.trunks for group in groups), strict=True)
    cells = ConcatenatedRows([group.cells for group in groups])
    return FrozenFeatures(tuple(ConcatenatedRows(list(parts)) for parts in trunks), cells)


class _Trunk(nn.Cell):
    def __init__(self, model: OptModel, layers: int):
        super().__init__()
        self.images, self.layers = model.uniter.img_embeddings, layers

    def construct(self, pixels: Tensor) -> Tensor:
        """Run the ViT's frozen layers: pixels float32 [B, 3, S, S] -> [B, T, W]."""
        return self.images.trunk(pixels, self.layers)


class _Grid(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.images = model.uniter.img_embeddings

    def construct(self, pixels: Tensor) -> Tensor:
        """Run the convolutional backbone: pixels float32 [B, 3, S, S] -> [B, L, F]."""
        return self.images.grid_features(pixels)


class FeatureExtractor:
    """Runs the frozen parts of the image stream over photos, and goes on where an earlier run was stopped.

    A photo that can't be read gets zeros. The names of the files depend on the photos' paths and on the network's shape, not
    on its weights: another backbone needs another folder.
    """

    def __init__(self, model: OptModel, layers: int, folder: Path):
        self._inputs, self._folder, self._layers = model.config.inputs, folder, layers
        self._trunk, self._grid = (cell.set_train(False) for cell in (_Trunk(model, layers), _Grid(model)))

    def extract(self, photos: list[Photo], mirrored: bool, progress: Progress = lambda done, total: None) -> FrozenFeatures:
        """Give the features of photos; `mirrored` adds the ViT's tokens of the mirrored photos."""
        kinds = ("plain", "mirrored") if mirrored else ("plain",)
        name = f"trunk{self._layers}"
        trunks = tuple(self._cached(self._trunk, name, photos, kind == "mirrored", progress) for kind in kinds)
        return FrozenFeatures(trunks, self._cached(self._grid, "grid", photos, False, progress))

    def _cached(self, cell: nn.Cell, name: str, photos: list[Photo], mirrored: bool, progress: Progress) -> np.ndarray:
        path = feature_path(self._folder, name, photos, self._inputs, mirrored)
        return extract_rows(lambda pixels: cell(Tensor(pixels)).asnumpy(), path, photos, self._inputs, mirrored, progress)


def feature_path(folder: Path, name: str, photos: list[Photo], inputs: PixelInput, mirrored: bool) -> Path:
    """Name the file of some features of these photos."""
    preparation = f"{inputs.size}{'' if inputs.preprocessing == 'squash' else inputs.preprocessing}"
    return folder / f"{key_of(photos, preparation)}-{name}{'-mirrored' if mirrored else ''}.npy"


def extract_rows(
    compute: Callable[[np.ndarray], np.ndarray],
    path: Path,
    photos: list[Photo],
    inputs: PixelInput,
    mirrored: bool,
    progress: Progress = lambda done, total: None,
) -> np.ndarray:
    """Compute a row of features for each photo, and keep them in a file. It goes on where an earlier run was stopped.

    Args:
        compute: from pixels float32 [BATCH, 3, S, S] to features [BATCH, ...].
        path: the file; a file beside it says how many rows are done.
        photos: the photos. One that can't be read gets zeros.
        inputs: how a photo becomes pixels.
        mirrored: mirror the photos.
        progress: is told the number of photos that are done, and of all.

    Returns:
        float16 [n, ...], memory-mapped.
    """
    state_path = path.with_suffix(".json")
    done = json.loads(state_path.read_text())["done"] if state_path.exists() else 0
    out = np.load(path, mmap_mode="r+") if done else None
    path.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(1) as ahead:
        pending = ahead.submit(pixels_of, photos[done : done + BATCH], inputs, mirrored)
        while done < len(photos):
            pixels, readable = pending.result()
            pending = ahead.submit(pixels_of, photos[done + BATCH : done + 2 * BATCH], inputs, mirrored)
            values = compute(pixels)
            if out is None:
                out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(len(photos), *values.shape[1:]))
            count = min(BATCH, len(photos) - done)
            out[done : done + count] = (values * readable[:, None, None])[:count]
            done += count
            if done % (BATCH * 32) == 0 or done == len(photos):
                out.flush()
                state_path.write_text(json.dumps({"done": done}))
            progress(done, len(photos))
    return np.load(path, mmap_mode="r")


def pixels_of(photos: list[Photo], inputs: PixelInput, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Prepare a batch of at most BATCH photos as the model reads them.

    Returns:
        Pixels float32 [BATCH, 3, S, S], zeros where there is no photo, and 1 for each photo that could be read [BATCH].
    """
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
