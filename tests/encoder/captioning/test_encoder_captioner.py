"""A captioner that reads an encoder's tokens is opened with that encoder."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from encoder import open_encoder
from encoder.errors import CannotSearch
from encoder.model_folder import CAPTIONER, fingerprint, write_model
from encoder.runtime.captioner import Captioner
from encoder.selection import CaptionerSelection, ModelSelection, captioner_of
from tests.support.small_captioners import SMALL_CAPTIONER, captioner_weights
from tests.support.small_models import SMALL_MINI, add_graphs, vocabulary, write_small_model


@pytest.fixture(scope="module")
def selection(tmp_path_factory) -> CaptionerSelection:
    model = write_small_model(tmp_path_factory.mktemp("model"))
    config = dataclasses.replace(SMALL_CAPTIONER, encoder=fingerprint(model))
    write_model(model / CAPTIONER, config, captioner_weights(config), vocabulary())
    add_graphs(model / CAPTIONER)
    return captioner_of(model, ModelSelection(model))


def test_it_writes_of_photos_what_it_writes_of_stored_tokens(selection):
    writer, encoder = selection.open(), open_encoder(selection.encoder)
    photos = np.random.default_rng(1).integers(0, 256, (3, *SMALL_MINI.inputs.shape)).astype(np.uint8)
    tokens = encoder.encode_images(photos).tokens
    written = writer.write(writer.encode_images(photos), "zh", 2)
    assert written == Captioner(selection.folder).write(tokens, "zh", 2)
    assert all(one.log_probability < 0 and not set("[]") & set(one.text) for one in written)


def test_it_is_known_by_its_own_fingerprint_and_by_its_encoder_s(selection):
    assert selection.encoder is not None
    writer = selection.open()
    assert (writer.fingerprint, writer.encoder_fingerprint) == (fingerprint(selection.folder), fingerprint(selection.encoder))
    assert (writer.languages, writer.config.inputs) == (("en", "zh"), SMALL_MINI.inputs)


def test_an_encoder_that_is_open_is_not_opened_again(selection):
    encoder = open_encoder(selection.encoder)
    assert selection.open(encoder).encoder is encoder


def test_it_cannot_be_opened_as_an_encoder(selection):
    with pytest.raises(CannotSearch):
        open_encoder(selection.folder)
