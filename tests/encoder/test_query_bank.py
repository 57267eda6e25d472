"""The query bank: familiarity with queries in general, and files that can't be used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import BadCheckpoint
from encoder.query_bank import FILE, QueryBank, familiarity, read_query_bank


def units(count: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_vector_near_the_queries_is_more_familiar_than_one_far_away():
    bank = np.array([[1, 0, 0], [0.8, 0.6, 0]], np.float32)
    vectors = np.array([[0.9, 0.435, 0], [0, 0, 1]], np.float32)

    near, far = familiarity(vectors, bank, 20)

    assert near == pytest.approx(np.log(np.mean(np.exp(20 * bank @ vectors[0]))) / 20, abs=1e-6)
    assert far == pytest.approx(0, abs=1e-6)


@given(st.integers(1, 40), st.floats(0.1, 500), st.integers(0, 5))
def test_familiarity_lies_between_the_mean_cosine_and_the_highest(count, sharpness, seed):
    vectors, bank = units(5, seed=seed), units(count, seed=seed + 10)
    cosines = vectors @ bank.T

    found = familiarity(vectors, bank, sharpness)

    assert (found <= cosines.max(1) + 1e-5).all() and (found >= cosines.mean(1) - 1e-5).all()


def test_without_queries_familiarity_is_0():
    assert familiarity(units(3), units(0), 20).tolist() == [0, 0, 0]


def test_a_bank_is_written_and_read_back_in_8_bits(tmp_path):
    QueryBank({"en": units(5), "zh": units(3, seed=1)}, units(4, seed=2)).write(tmp_path)

    bank = read_query_bank(tmp_path, 8)

    assert bank is not None and set(bank.texts) == {"en", "zh"}
    np.testing.assert_allclose(bank.texts["en"], units(5), atol=0.005)
    np.testing.assert_allclose(bank.images, units(4, seed=2), atol=0.005)
    assert len(bank.sentences("zh")) == 3
    assert len(bank.sentences("fr")) == len(bank.sentences(None)) == 8


def test_a_model_without_a_bank_has_none(tmp_path):
    assert read_query_bank(tmp_path, 8) is None


def test_a_bank_of_another_width_and_a_damaged_one_are_refused(tmp_path):
    QueryBank({"en": units(5)}, units(4)).write(tmp_path)
    with pytest.raises(BadCheckpoint, match="another model"):
        read_query_bank(tmp_path, 16)
    (tmp_path / FILE).write_bytes(b"no bank")
    with pytest.raises(BadCheckpoint, match="fetch the file again"):
        read_query_bank(tmp_path, 8)
