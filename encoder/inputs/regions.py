"""A detector's features of a photo, read from `.npz` (OPT specification, 4.1). Never imports mindspore, never unpickles."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from encoder.errors import UnreadableImage

ENDING = ".npz"
GEOMETRY = 7
LARGEST_ARRAY = 512 * 2**20
LONGEST_SIDE = 1_000_000
SKETCH_SIDE = 512
FEATURES, BOXES = ("feat", "x"), ("pred_boxes", "bbox")
WIDTH, HEIGHT = ("width", "image_w"), ("height", "image_h")
"""The names of arrays in a file: the model zoo's, and those that bottom-up-attention.pytorch writes."""


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of a photo that a detector found.

    Attributes:
        features: float32 [n, F].
        boxes: float32 [n, 4], each x1, y1, x2, y2 in pixels of the photo.
        width, height: of the photo, in pixels.
    """

    features: np.ndarray
    boxes: np.ndarray
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.features)

    def geometry(self) -> np.ndarray:
        """The boxes as numbers that don't depend on the photo's size.

        Returns:
            float32 [n, 7]: x1 / W, y1 / H, x2 / W, y2 / H, w / W, h / H, and the product of the last two.
        """
        x1, y1, x2, y2 = self.boxes.T / np.array([self.width, self.height] * 2, np.float32)[:, None]
        return np.stack([x1, y1, x2, y2, x2 - x1, y2 - y1, (x2 - x1) * (y2 - y1)], 1).astype(np.float32)


def rows_of(regions: Regions, count: int) -> np.ndarray:
    """Lay out the first `count` regions as the network reads them.

    Returns:
        float32 [count, F + 8]: features, geometry, and 1; rows of padding are 0.
    """
    kept = min(len(regions), count)
    out = np.zeros((count, regions.features.shape[1] + GEOMETRY + 1), np.float32)
    out[:kept, : -GEOMETRY - 1] = regions.features[:kept]
    out[:kept, -GEOMETRY - 1 : -1] = regions.geometry()[:kept]
    out[:kept, -1] = 1
    return out


def read_regions(path: str | Path, width: int) -> Regions:
    """Read the regions of an `.npz` file.

    The features are [n, width] with a box each, or those of a grid, [rows, columns, width] or [width, rows, columns], whose
    boxes are its cells.

    Args:
        width: F of the model.

    Raises:
        UnreadableImage: with the reason `missing`, `unreadable`, `empty`, `not_npz`, `no_features`, `pickled`, `too_large`,
            `wrong_shape`, `no_regions`, `not_finite` or `zero_size`.
    """
    try:
        with _opened(path) as file:
            features = _checked(path, _array(path, file, FEATURES, "features"), width)
            size = _side(path, file, WIDTH), _side(path, file, HEIGHT)
            if features.ndim == 3:
                rows, columns, _ = features.shape
                boxes, features = _cells(rows, columns, *size), features.reshape(-1, width)
            else:
                boxes = _boxes(path, _array(path, file, BOXES, "boxes"), len(features))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, MemoryError, NotImplementedError) as error:
        raise UnreadableImage(
            "not_npz", f"{path} is no .npz file that can be read ({_one_line(error)}); extract its features again."
        ) from error
    return Regions(features, boxes, *size)


def sketch(regions: Regions) -> Image.Image:
    """Draw where the boxes lie, for features without a photo; the longer side is 512 pixels."""
    scale = SKETCH_SIDE / max(regions.width, regions.height)
    size = max(1, round(regions.width * scale)), max(1, round(regions.height * scale))
    image = Image.new("RGB", size, (236, 234, 228))
    draw = ImageDraw.Draw(image)
    for x1, y1, x2, y2 in np.clip(regions.boxes * scale, 0, SKETCH_SIDE).tolist():
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=(150, 148, 140))
    return image


def _opened(path: str | Path) -> zipfile.ZipFile:
    try:
        if Path(path).stat().st_size == 0:
            raise UnreadableImage("empty", f"{path} is empty; extract its features again.")
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise UnreadableImage("missing", f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise UnreadableImage("unreadable", f"{path} cannot be read ({error.strerror or error}).") from error


def _array(path: str | Path, file: zipfile.ZipFile, names: tuple[str, ...], what: str) -> np.ndarray:
    """Read the first array that has one of these names."""
    name = next((name for name in names if f"{name}.npy" in file.namelist()), None)
    if name is None:
        raise UnreadableImage("no_features", f"{path} has no {what}: it needs an array {' or '.join(names)}.")
    if file.getinfo(f"{name}.npy").file_size > LARGEST_ARRAY:
        raise UnreadableImage("too_large", f"{path}: {name} is larger than {LARGEST_ARRAY // 2**20} MB.")
    with file.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        dtype = read_header(stream)[2]
    if dtype.kind not in "fiub":
        reason = "pickled" if dtype.hasobject else "wrong_shape"
        raise UnreadableImage(
            reason,
            f"{path}: {name} holds {'Python objects' if dtype.hasobject else dtype}, not numbers; "
            "save it as an array of numbers.",
        )
    with file.open(f"{name}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _checked(path: str | Path, features: np.ndarray, width: int) -> np.ndarray:
    """Check features; gives them as float32 [n, width] or [rows, columns, width]."""
    if features.ndim == 4 and len(features) == 1:
        features = features[0]
    if features.ndim == 3 and features.shape[2] != width and features.shape[0] == width:
        features = features.transpose(1, 2, 0)
    if features.ndim not in (2, 3) or features.shape[-1] != width:
        raise UnreadableImage(
            "wrong_shape",
            f"{path}: the features are {list(features.shape)}, and the model reads "
            f"[n, {width}] or a grid [rows, columns, {width}].",
        )
    if features.size == 0:
        raise UnreadableImage("no_regions", f"{path} has no regions: the detector found nothing.")
    return _finite(path, features, "features")


def _boxes(path: str | Path, boxes: np.ndarray, count: int) -> np.ndarray:
    if boxes.shape != (count, 4):
        raise UnreadableImage(
            "wrong_shape", f"{path}: the boxes are {list(boxes.shape)} for {count} features; each needs one of 4 numbers."
        )
    boxes = _finite(path, boxes, "boxes")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise UnreadableImage("wrong_shape", f"{path}: a box ends before it begins; boxes are x1, y1, x2, y2.")
    if np.abs(boxes).max() > LONGEST_SIDE:
        raise UnreadableImage(
            "wrong_shape", f"{path}: a box lies {np.abs(boxes).max():g} pixels away; boxes are in pixels of the photo."
        )
    return boxes


def _finite(path: str | Path, values: np.ndarray, what: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(values).all():
        raise UnreadableImage("not_finite", f"{path}: the {what} have numbers that are not finite; extract them again.")
    return values


def _side(path: str | Path, file: zipfile.ZipFile, names: tuple[str, ...]) -> int:
    values = _array(path, file, names, names[0]).ravel()
    side = float(values[0]) if len(values) == 1 else 0.0
    if not 1 <= side <= LONGEST_SIDE:
        raise UnreadableImage("zero_size", f"{path}: the {names[0]} is {side:g}; it must be the photo's, in pixels.")
    return round(side)


def _cells(rows: int, columns: int, width: int, height: int) -> np.ndarray:
    """The boxes of a grid's cells, row by row."""
    top, left = (step.ravel() for step in np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"))
    across, down = width / columns, height / rows
    return np.stack([left * across, top * down, (left + 1) * across, (top + 1) * down], 1).astype(np.float32)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
