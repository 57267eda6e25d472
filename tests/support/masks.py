"""Masks that are wrong on purpose, to show that a comparison would notice them."""

from __future__ import annotations

from mindspore import Tensor, ops


def mask_nothing(tokens: Tensor) -> Tensor:
    """Stand in for `region_stream.padding_bias`: let padding be attended to. tokens [B, L, H] -> [B, 1, 1, L]."""
    return ops.zeros_like(tokens[:, :, 0]).expand_dims(1).expand_dims(1)
