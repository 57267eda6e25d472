"""`build-index --devices`: real networks in processes of their own."""

from __future__ import annotations

import numpy as np
import pytest

from storage import Home
from tests.support.commands import answer, manage
from tests.support.fakes import save_photo
from tests.support.small_models import write_small_model


@pytest.fixture
def photos(tmp_path):
    for number in range(70):
        path = save_photo(tmp_path / "photos" / f"{number:02}.png", (number * 3, 40, 250 - number * 3), (24, 16))
        path.with_suffix(".txt").write_text(f"a dog on the beach {number}\na red car")
    return tmp_path / "photos"


def test_two_devices_make_what_one_makes(photos, tmp_path):
    model = write_small_model(tmp_path / "model")
    homes = [tmp_path / "one", tmp_path / "two"]
    for devices, home in enumerate(homes, start=1):
        summary = answer(
            "build-index", photos, "--device", "CPU", "--devices", devices, "--model", model, "--home", home, "--workers", 0
        )
        assert (summary["images"], summary["captions"]) == (70, 140)
    one, two = (Home(home).collection("default").open_snapshot() for home in homes)
    np.testing.assert_array_equal(one.image_ids(), two.image_ids())
    assert one.images(one.image_ids()) == two.images(two.image_ids())
    np.testing.assert_array_equal(one.image_vectors(one.image_ids()), two.image_vectors(two.image_ids()))
    np.testing.assert_array_equal(one.tokens(one.image_ids()), two.tokens(two.image_ids()))
    np.testing.assert_array_equal(one.caption_vectors(one.caption_ids()), two.caption_vectors(two.caption_ids()))


def test_a_device_that_is_not_there_is_one_line(photos, tmp_path):
    done = manage("build-index", photos, "--device", "Ascend", "--devices", 2, "--home", tmp_path / "home")
    assert done.returncode == 2 and "The device Ascend does not answer" in done.stderr and "Traceback" not in done.stderr
