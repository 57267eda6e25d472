"""Counts the floating-point operations of the network: pure functions of a config.

Only matrix products and convolutions count, with 2 operations for each multiplication and its addition, as if each were
computed directly and once. What an implementation does in order to be fast does not count. Padding counts as text.
"""

from __future__ import annotations

from encoder.config import OptConfig


def text(config: OptConfig, length: int) -> int:
    """Operations from a sentence of `length` tokens to its vector."""
    block = _block(length, length, config.hidden_size, config.text_intermediate)
    return config.text_layers * block + _product(1, config.hidden_size, config.dim)


def image(config: OptConfig) -> int:
    """Operations from an image to its tokens and vector."""
    width, patches = config.hidden_size, config.grid**2
    kept = config.token_shape[0]
    layer = _block(config.vit_tokens, config.vit_tokens, width, config.image_intermediate)
    adapter = _block(kept, kept, width, config.image_intermediate)
    total = _product(patches, 3 * config.patch_size**2, width) + config.image_layers * layer + config.adapter_layers * adapter
    if config.grid_stages:
        total += efficientnet(config) + _product(kept, config.grid_features, width)
    return total + _product(1, width, config.dim)


def pair(config: OptConfig, length: int) -> int:
    """Operations from a text's states (`length` tokens) and an image's tokens to the match logit.

    The last block computes the first token only.
    """
    width, inner, seen = config.hidden_size, config.fusion_intermediate, config.token_shape[0]
    total = _product(1, width, config.itm_hidden) + _product(1, config.itm_hidden, 2)
    for layer in range(config.fusion_layers):
        read = 1 if layer == config.fusion_layers - 1 else length
        total += _block(read, length, width, inner) + _attention(read, seen, width)
    return total


def efficientnet(config: OptConfig) -> int:
    """Operations of the convolutional image backbone, from the stem to the features of its grid."""
    side = _halved(config.image_size)
    total = _product(side**2, 27, config.grid_stages[0][3])
    for expand, kernel, stride, inputs, outputs, repeats in config.grid_stages:
        for i in range(repeats):
            before, width = side, inputs if i == 0 else outputs
            side = _halved(side) if stride == 2 and i == 0 else side
            total += _inverted(width, width * expand, outputs, kernel, before**2, side**2)
    return total + _product(side**2, config.grid_stages[-1][4], config.grid_features)


def _inverted(inputs: int, inner: int, outputs: int, kernel: int, before: int, after: int) -> int:
    squeezed = max(1, inputs // 4)
    widen = _product(before, inputs, inner) if inner > inputs else 0
    return widen + 2 * after * inner * kernel**2 + 2 * _product(1, inner, squeezed) + _product(after, inner, outputs)


def _block(read: int, seen: int, width: int, inner: int) -> int:
    """`read` tokens attend to `seen` tokens and go through a feed-forward layer."""
    return _attention(read, seen, width) + 2 * _product(read, width, inner)


def _attention(read: int, seen: int, width: int) -> int:
    """Query and output of `read` tokens, keys and values of `seen` tokens, scores and weighted sums; heads don't matter."""
    return 2 * _product(read, width, width) + 2 * _product(seen, width, width) + 2 * _product(read, seen, width)


def _product(rows: int, inner: int, columns: int) -> int:
    return 2 * rows * inner * columns


def _halved(side: int) -> int:
    return (side + 1) // 2
