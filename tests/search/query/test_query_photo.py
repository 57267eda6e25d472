"""The photo of a query is prepared by the model's config, as are those of the index."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from encoder.inputs.pixels import decode, prepare
from indexer.photo_loader import Job, load_photo
from search.errors import UnreadablePhoto
from search.query.query_photo import read_photo, read_photo_with_preview, read_stored
from storage.photo_uri import PhotoUri
from tests.indexer.sources.test_webdataset import write_shard
from tests.support.fakes import FakeConfig, jpeg, save_photo


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


def test_a_photo_is_read_by_its_records_uri_wherever_it_lies(tmp_path):
    shard = write_shard(tmp_path / "a!.tar", ("x.jpg", b"before"), ("green.jpg", jpeg("green")))
    odd = tmp_path / "\udcff.png"
    save_photo(tmp_path / "new.png", "green").rename(odd)
    expected = prepare(decode(jpeg("green")), FakeConfig.image_size)
    for uri in (PhotoUri(shard, "green.jpg"), PhotoUri(odd)):
        np.testing.assert_allclose(read_stored(SimpleNamespace(uri=uri.uri, metadata={}), FakeConfig()), expected, atol=3)
    gone = PhotoUri(shard, "gone.jpg"), PhotoUri(tmp_path / "gone.tar", "x.jpg"), PhotoUri(tmp_path / "gone.jpg")
    for uri in (*gone, PhotoUri(shard, "x.jpg")):
        with pytest.raises(UnreadablePhoto):
            read_stored(SimpleNamespace(uri=uri.uri, metadata={}), FakeConfig())
