"""A detector's `.npz` is read as numbers or refused in one line, and is never unpickled."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import UnreadableImage
from encoder.inputs.regions import Regions, read_regions, rows_of, sketch
from tests.support.region_fakes import WIDTH, save_features


def refused(path) -> str:
    with pytest.raises(UnreadableImage) as error:
        read_regions(path, WIDTH)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return error.value.reason


def test_the_geometry_is_the_published_one(tmp_path):
    boxes = np.array([[10, 20, 50, 80]], np.float32)
    regions = read_regions(save_features(tmp_path / "a.npz", count=1, size=(100, 200), pred_boxes=boxes), WIDTH)
    np.testing.assert_allclose(regions.geometry(), [[0.1, 0.1, 0.5, 0.4, 0.4, 0.3, 0.12]], rtol=1e-6)
    assert (regions.width, regions.height, len(regions)) == (100, 200, 1)


def test_the_names_of_bottom_up_attention_are_read_too(tmp_path):
    zoo = read_regions(save_features(tmp_path / "zoo.npz"), WIDTH)
    renamed = save_features(
        tmp_path / "other.npz",
        feat=None,
        pred_boxes=None,
        width=None,
        height=None,
        x=zoo.features,
        bbox=zoo.boxes,
        image_w=48,
        image_h=32,
        num_bbox=4,
        info=np.array({"objects": [1]}, dtype=object),
    )  # `info` is pickled, and never read
    other = read_regions(renamed, WIDTH)
    np.testing.assert_array_equal(other.features, zoo.features)
    np.testing.assert_array_equal(other.geometry(), zoo.geometry())


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_a_grid_has_its_cells_as_boxes(tmp_path, axes):
    grid = np.arange(2 * 3 * WIDTH, dtype=np.float32).reshape(2, 3, WIDTH)
    path = save_features(tmp_path / "grid.npz", feat=grid.transpose(axes)[None], pred_boxes=None, size=(90, 40))
    regions = read_regions(path, WIDTH)
    np.testing.assert_array_equal(regions.features, grid.reshape(6, WIDTH))
    np.testing.assert_array_equal(regions.boxes[[0, 2, 3]], [[0, 0, 30, 20], [60, 0, 90, 20], [0, 20, 30, 40]])


def test_rows_are_the_first_regions_and_zeros(tmp_path):
    regions = read_regions(save_features(tmp_path / "a.npz", count=4), WIDTH)
    short, long = rows_of(regions, 3), rows_of(regions, 6)
    assert short.shape == (3, WIDTH + 8) and short[:, -1].tolist() == [1, 1, 1]
    assert long[:, -1].tolist() == [1, 1, 1, 1, 0, 0] and not long[4:].any()
    np.testing.assert_array_equal(long[:3], short)
    np.testing.assert_array_equal(short[:, WIDTH:-1], regions.geometry()[:3])


NOTHING, HOLLOW = np.empty((0, WIDTH), np.float32), np.full((4, WIDTH), np.nan, np.float32)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"feat": None}, "no_features"),
        ({"pred_boxes": None}, "no_features"),
        ({"width": None}, "no_features"),
        ({"feat": np.array([{"a": 1}] * 4, dtype=object)}, "pickled"),
        ({"pred_boxes": np.array([None] * 4)}, "pickled"),
        ({"feat": np.array(["many"] * 4)}, "wrong_shape"),
        ({"feat": np.zeros((4, WIDTH + 1))}, "wrong_shape"),
        ({"feat": np.zeros(WIDTH)}, "wrong_shape"),
        ({"pred_boxes": np.zeros((3, 4))}, "wrong_shape"),
        ({"pred_boxes": np.zeros((4, 5))}, "wrong_shape"),
        ({"pred_boxes": np.array([[5, 5, 1, 9]] * 4)}, "wrong_shape"),
        ({"pred_boxes": np.full((4, 4), 3e38)}, "wrong_shape"),
        ({"feat": HOLLOW}, "not_finite"),
        ({"feat": np.full((4, WIDTH), 1e300)}, "not_finite"),
        ({"pred_boxes": np.full((4, 4), np.inf)}, "not_finite"),
        ({"feat": NOTHING, "pred_boxes": np.empty((0, 4))}, "no_regions"),
        ({"width": np.array(0)}, "zero_size"),
        ({"height": np.array(-3)}, "zero_size"),
        ({"width": np.array(np.nan)}, "zero_size"),
        ({"width": np.array([3, 4])}, "zero_size"),
    ],
)
def test_wrong_arrays_have_a_reason(tmp_path, changes, reason):
    assert refused(save_features(tmp_path / "a.npz", **changes)) == reason


def test_files_that_are_not_npz_have_a_reason(tmp_path):
    assert refused(tmp_path / "nowhere.npz") == "missing"
    (tmp_path / "empty.npz").touch()
    assert refused(tmp_path / "empty.npz") == "empty"
    (tmp_path / "text.npz").write_text("hello")
    assert refused(tmp_path / "text.npz") == "not_npz"
    whole = save_features(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path / "cut.npz") == "not_npz"
    assert refused(tmp_path) == "unreadable"


def test_an_array_that_is_too_large_is_refused_before_it_is_read(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, WIDTH)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as file:
        file.writestr("feat.npy", header.getvalue())
    assert refused(tmp_path / "bomb.npz") == "not_npz"
    with zipfile.ZipFile(tmp_path / "zeros.npz", "w", zipfile.ZIP_DEFLATED) as file, file.open("feat.npy", "w") as stream:
        for _ in range(600):
            stream.write(bytes(2**20))
    assert refused(tmp_path / "zeros.npz") == "too_large"


@given(st.data())
def test_changed_bytes_are_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    content = bytearray(save_features(folder / "a.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "a.npz").write_bytes(content)
    try:
        regions = read_regions(folder / "a.npz", WIDTH)
    except UnreadableImage:
        return
    assert np.isfinite(rows_of(regions, 6)).all()


def test_a_sketch_shows_where_the_boxes_lie():
    boxes = np.array([[0, 0, 400, 300], [-5, 10, 9000, 20]], np.float32)
    image = sketch(Regions(np.zeros((2, WIDTH), np.float32), boxes, 800, 600))
    assert image.size == (512, 384) and len(image.getcolors() or []) == 2
    assert sketch(Regions(np.zeros((1, WIDTH), np.float32), boxes[:1], 1_000_000, 1)).size == (512, 1)
