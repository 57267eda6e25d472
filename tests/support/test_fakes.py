"""The fake encoder is called as the real one is, or tests that use it prove nothing."""

from __future__ import annotations

import inspect
from dataclasses import fields

import numpy as np
import pytest

from encoder.runtime import encoder as runtime
from encoder.runtime.pair import PairedEncoder
from tests.support import fakes
from tests.support.fakes import FakeEncoder


@pytest.mark.parametrize("call", ["encode_images", "encode_texts", "match", "explain", "spans", "warm_up"])
def test_each_call_has_the_real_one_s_parameters(call):
    real = list(inspect.signature(getattr(runtime.Encoder, call)).parameters)
    for other in (FakeEncoder, PairedEncoder):
        assert list(inspect.signature(getattr(other, call)).parameters) == real


@pytest.mark.parametrize("name", ["ImageEncodings", "TextEncodings"])
def test_encodings_have_the_real_ones_fields(name):
    real, fake = getattr(runtime, name), getattr(fakes, name)
    assert [field.name for field in fields(fake)] == [field.name for field in fields(real)]


def test_match_takes_encoded_texts_one_with_many_or_many_with_one():
    encoder = FakeEncoder()
    texts = encoder.encode_texts(["red", "blue", "绿"])
    tokens = np.repeat(encoder.encode_images(np.full((1, 32, 32, 3), (220, 30, 30), np.uint8)).tokens, 5, axis=0)

    logits = encoder.match(texts, tokens[:1])

    assert len(texts) == 3 and logits.shape == (3,) and logits.dtype == np.float32
    assert logits.argmax() == 0
    assert encoder.match(encoder.encode_texts(["blue"]), tokens) == pytest.approx([logits[1]] * 5)
    with pytest.raises(ValueError, match="3 texts"):
        encoder.match(texts, tokens[:2])
