"""A photo to search with is prepared as the model's config says, as those of the index are."""

import numpy as np
import pytest
from PIL import Image

from encoder.pixels import decode, prepare
from indexer.photos import Job, load_photo
from search.photos import read_photo, read_photo_with_preview
from tests.fakes import FakeConfig


@pytest.mark.parametrize("preprocessing", ["squash", "center_crop"])
def test_query_and_index_see_the_same_pixels(tmp_path, preprocessing):
    path = tmp_path / "wide.jpg"
    Image.effect_noise((900, 300), 90).convert("RGB").save(path)
    config = FakeConfig(preprocessing=preprocessing)
    expected = prepare(decode(path), config.image_size, preprocessing)
    indexed = load_photo(Job(str(path), config.inputs)).pixels
    shown, preview = read_photo_with_preview(path.read_bytes(), config)
    for pixels in (indexed, read_photo(path, config), shown):
        np.testing.assert_array_equal(pixels, expected)
    assert preview.startswith(b"\xff\xd8")
