"""Matrices in 8 bits: one scale for each output (the first axis), rounded to the nearest of 255 steps."""

from __future__ import annotations

import numpy as np

STEPS = 127


def pack(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float [n, ...] -> codes int8 [n, ...] and scales float32 [n]; exact for what `unpack` gave."""
    scales = np.abs(values.reshape(len(values), -1)).max(1).astype(np.float32) / STEPS
    codes = np.rint(values / _broadcast(np.where(scales > 0, scales, 1), values.ndim))
    return codes.astype(np.int8), scales


def unpack(codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """codes int8 [n, ...] and scales float32 [n] -> float32 [n, ...]."""
    return codes.astype(np.float32) * _broadcast(scales, codes.ndim)


def _broadcast(scales: np.ndarray, ndim: int) -> np.ndarray:
    return scales.reshape(-1, *[1] * (ndim - 1))
