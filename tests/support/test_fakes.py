"""The fake encoder is called as the real one is, or tests that use it prove nothing."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from encoder.api import EncodedTexts, ImageEncodings
from encoder.runtime.encoder import OptEncoder
from encoder.runtime.pair import PairedEncoder
from tests.support.fakes import FakeEncoder


@pytest.mark.parametrize("call", ["encode_images", "encode_texts", "match", "explain", "spans", "warm_up"])
def test_each_call_has_the_real_one_s_parameters(call: str) -> None:
    real = list(inspect.signature(getattr(OptEncoder, call)).parameters)
    for other in (FakeEncoder, PairedEncoder):
        assert list(inspect.signature(getattr(other, call)).parameters) == real


def test_encodings_are_of_the_real_classes() -> None:
    encoder = FakeEncoder()
    assert type(encoder.encode_images(np.zeros((1, 32, 32, 3), np.uint8))) is ImageEncodings
    assert type(encoder.encode_texts(["red"])) is EncodedTexts


def test_match_takes_encoded_texts_one_with_many_or_many_with_one() -> None:
    encoder = FakeEncoder()
    texts = encoder.encode_texts(["red", "blue", "绿"])
    tokens = np.repeat(encoder.encode_images(np.full((1, 32, 32, 3), (220, 30, 30), np.uint8)).tokens, 5, axis=0)

    logits = encoder.match(texts, tokens[:1])

    assert len(texts) == 3 and logits.shape == (3,) and logits.dtype == np.float32
    assert logits.argmax() == 0
    assert encoder.match(encoder.encode_texts(["blue"]), tokens) == pytest.approx([logits[1]] * 5)
    with pytest.raises(ValueError, match="3 texts"):
        encoder.match(texts, tokens[:2])
