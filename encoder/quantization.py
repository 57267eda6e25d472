"""Rounding to 8 bits: 255 steps, with one scale for each row of a matrix or each token of an image."""

from __future__ import annotations

import numpy as np

STEPS = 127


def quantize(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round float [n, ...] to codes int8 [n, ...] and scales float32 [n]; values from `dequantize` come back exactly."""
    scales = np.abs(values.reshape(len(values), -1)).max(1).astype(np.float32) / STEPS
    codes = np.rint(values / _broadcast(np.where(scales > 0, scales, 1), values.ndim))
    return codes.astype(np.int8), scales


def dequantize(codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Turn codes int8 [n, ...] and scales float32 [n] into float32 [n, ...]."""
    return codes.astype(np.float32) * _broadcast(scales, codes.ndim)


def quantize_tokens(tokens: np.ndarray) -> np.ndarray:
    """Round tokens float [n, L, H] to 8 bits; H must be even.

    Returns:
        float16 [n, L, H / 2 + 1], which are bits rather than numbers: each holds two codes, the last one the token's scale.
    """
    n, length, width = tokens.shape
    rows = tokens.reshape(-1, width).astype(np.float32)
    scales = (np.abs(rows).max(1) / STEPS).astype(np.float16)
    codes = np.rint(rows / np.where(scales > 0, scales, 1)[:, None].astype(np.float32))
    codes = np.clip(codes, -STEPS, STEPS).astype(np.int8)
    return np.concatenate([codes.view(np.float16), scales[:, None]], 1).reshape(n, length, width // 2 + 1)


def dequantize_tokens(quantized: np.ndarray) -> np.ndarray:
    """Turn what `quantize_tokens` gave into float32 [n, L, H]."""
    codes = np.ascontiguousarray(quantized[..., :-1]).view(np.int8)
    return codes.astype(np.float32) * quantized[..., -1:].astype(np.float32)


def _broadcast(scales: np.ndarray, ndim: int) -> np.ndarray:
    return scales.reshape(-1, *[1] * (ndim - 1))
