"""Training prepares photos as the model's config says, and starts only from a model that it can train."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from encoder.errors import BadTrainingData
from encoder.inputs.image_inputs import PixelInput
from encoder.inputs.pixels import PREPROCESSINGS, decode, prepare
from encoder.model_folder import write_model
from encoder.training.dataset import Photo
from encoder.training.features import pixels_of
from encoder.training.prepare import from_model
from tests.support.published_single_stream import SMALL_V1


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
def test_training_reads_the_pixels_that_indexing_reads(tmp_path, preprocessing):
    path = tmp_path / "wide.jpg"
    Image.effect_noise((900, 300), 90).convert("RGB").save(path)
    photos = [Photo(path, (), (), ()), Photo(tmp_path / "nowhere.jpg", (), (), ())]
    batch, readable = pixels_of(photos, PixelInput(64, preprocessing), mirrored=False)
    expected = prepare(decode(path, at_least=64 if preprocessing == "squash" else None), 64, preprocessing)
    np.testing.assert_array_equal(batch[0], expected.transpose(2, 0, 1))
    assert readable[:3].tolist() == [1, 0, 0]
    mirrored, _ = pixels_of(photos, PixelInput(64, preprocessing), mirrored=True)
    np.testing.assert_array_equal(mirrored[0], batch[0, :, :, ::-1])


def test_a_model_that_only_reranks_cannot_be_trained_on(tmp_path):
    write_model(tmp_path, SMALL_V1, {}, b"{}")
    with pytest.raises(BadTrainingData, match="only such a model can be trained on"):
        from_model(tmp_path, [], [], {}, tmp_path, print)
