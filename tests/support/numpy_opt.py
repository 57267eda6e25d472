"""OPT-v2's forward pass in plain numpy, written from the OPT specification (2.0 and 2.3) and nothing of encoder/."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from encoder.config import OptConfig


class NumpyOpt:
    """The network, with weights by their published names. Every method takes one example, without padding."""

    def __init__(self, config: OptConfig, weights: dict[str, np.ndarray]):
        self.config = config
        self.weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}

    def text_states(self, ids: list[int]) -> np.ndarray:
        """Encode a text: ids [T] -> [T, H]."""
        w = self.weights
        x = w["cls.predictions.decoder.weight"][ids]
        x = x + w["uniter.embeddings.position_embeddings.embedding_table"][: len(ids)]
        x = x + w["uniter.embeddings.token_type_embeddings.embedding_table"][0]
        x = self._norm(x, "uniter.embeddings.layernorm")
        for i in range(self.config.text_layers):
            x = self._block(x, f"uniter.embeddings.encoder.blocks.{i}.")
        return x

    def image_tokens(self, pixels: np.ndarray) -> np.ndarray:
        """Encode an image: uint8 [S, S, 3] -> [L, H]."""
        c, vit = self.config, "uniter.img_embeddings.vit."
        x = (pixels / 255.0 - np.array(c.image_mean)) / np.array(c.image_std)
        kernel = self.weights[f"{vit}patch_embed.weight"]
        p = c.patch_size
        patches = [
            np.tensordot(kernel, x[r : r + p, s : s + p].transpose(2, 0, 1), 3)
            for r in range(0, c.image_size, p)
            for s in range(0, c.image_size, p)
        ]
        patches = np.stack(patches) + (self.weights[f"{vit}patch_embed.bias"] if c.patch_bias else 0)
        x = np.concatenate([self.weights[f"{vit}class_embedding"][None], patches])
        x = x + self.weights[f"{vit}pos_embed.embedding_table"]
        if c.registers:
            x = np.concatenate([x[:1], self.weights[f"{vit}register_tokens"], x[1:]])
        if c.image_pre_norm:
            x = self._norm(x, f"{vit}pre_layrnorm", c.image_norm_eps)
        for i in range(c.image_layers):
            x = self._vit_block(x, f"{vit}encoder.layers.{i}.")
        x = self._norm(x, f"{vit}post_layernorm", c.image_norm_eps)
        if c.merge > 1:
            x = np.concatenate([x[:1], self._merged(x[1 + c.registers :])])
        if c.grid_stages:
            cells = self._grid(pixels)
            features = np.concatenate([cells.mean(0, keepdims=True), cells])
            images = "uniter.img_embeddings."
            x = x + self._norm(self._dense(features, f"{images}img_linear"), f"{images}img_layer_norm")
        for i in range(c.adapter_layers):
            x = self._vit_block(x, f"uniter.img_embeddings.adapter.layers.{i}.")
        return x

    def text_vector(self, states: np.ndarray) -> np.ndarray:
        """Project a text: states [T, H] -> unit vector [D]."""
        return _unit(self._dense(states[0], "text_proj"))

    def image_vector(self, tokens: np.ndarray) -> np.ndarray:
        """Project an image: tokens [L, H] -> unit vector [D]."""
        return _unit(self._dense(tokens[0], "vision_proj"))

    def match_logit(self, states: np.ndarray, tokens: np.ndarray) -> float:
        """Score a pair: logit 1 of the ITM head."""
        x = states
        for i in range(self.config.fusion_layers):
            name = f"uniter.encoder.decoder.blocks.{i}."
            normed = self._norm(x, f"{name}layernorm1")
            x = x + self._attention(normed, normed, f"{name}attention.")
            x = x + self._attention(self._norm(x, f"{name}cross_attention_layernorm"), tokens, f"{name}cross_attention.")
            x = x + self._feed_forward(self._norm(x, f"{name}layernorm2"), name)
        hidden = _gelu_tanh(self._norm(self._dense(x[0], "itm_head_two.0"), "itm_head_two.1"))
        return float(self._dense(hidden, "itm_head_two.3")[1])

    def match_attention(self, states: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Compute the cross-attention weights of every layer, averaged over heads: [layers, T, L]."""
        x, layers = states, []
        for i in range(self.config.fusion_layers):
            name = f"uniter.encoder.decoder.blocks.{i}."
            normed = self._norm(x, f"{name}layernorm1")
            x = x + self._attention(normed, normed, f"{name}attention.")
            queries = self._norm(x, f"{name}cross_attention_layernorm")
            query, key = (self._dense(v, f"{name}cross_attention.dense{j}") for j, v in ((1, queries), (2, tokens)))
            layers.append(np.mean(_weights(query, key, self.config.text_heads), 0))
            x = x + self._attention(queries, tokens, f"{name}cross_attention.")
            x = x + self._feed_forward(self._norm(x, f"{name}layernorm2"), name)
        return np.stack(layers)

    def _block(self, x: np.ndarray, name: str) -> np.ndarray:
        normed = self._norm(x, f"{name}layernorm1")
        x = x + self._attention(normed, normed, f"{name}attention.")
        return x + self._feed_forward(self._norm(x, f"{name}layernorm2"), name)

    def _feed_forward(self, x: np.ndarray, name: str) -> np.ndarray:
        hidden = _gelu_tanh(self._stored_in_out(x, f"{name}output.mapping"))
        return self._stored_in_out(hidden, f"{name}output.projection")

    def _attention(self, x: np.ndarray, memory: np.ndarray, name: str) -> np.ndarray:
        query, key, value = (self._dense(v, f"{name}dense{i}") for i, v in ((1, x), (2, memory), (3, memory)))
        return self._stored_in_out(_heads(query, key, value, self.config.text_heads), f"{name}projection")

    def _vit_block(self, x: np.ndarray, name: str) -> np.ndarray:
        normed = self._norm(x, f"{name}layer_norm1", self.config.image_norm_eps)
        query, key, value = (self._dense(normed, f"{name}self_attn.{p}_proj") for p in "qkv")
        x = x + self._dense(_heads(query, key, value, self.config.image_heads), f"{name}self_attn.out_proj")
        hidden = self._dense(self._norm(x, f"{name}layer_norm2", self.config.image_norm_eps), f"{name}mlp.fc1")
        act = {"quick_gelu": lambda v: v / (1 + np.exp(-1.702 * v)), "gelu_tanh": _gelu_tanh, "gelu": _gelu_erf}
        return x + self._dense(act[self.config.image_activation](hidden), f"{name}mlp.fc2")

    def _merged(self, patches: np.ndarray) -> np.ndarray:
        m, side = self.config.merge, self.config.grid
        return np.stack(
            [
                np.mean([patches[(r + i) * side + s + j] for i in range(m) for j in range(m)], axis=0)
                for r in range(0, side, m)
                for s in range(0, side, m)
            ]
        )

    def _grid(self, pixels: np.ndarray) -> np.ndarray:
        """Run the EfficientNet, with maps as [h, w, C]: uint8 [S, S, 3] -> [cells, F]."""
        conv = "uniter.img_embeddings.conv."
        x = (pixels / 255.0 - np.array(self.config.image_mean)) / np.array(self.config.image_std)
        stem = self.weights[f"{conv}stem.point.weight"].reshape(-1, 3, 3, 3)
        x = _convolve(x, lambda patch: np.einsum("ocdk,cdk->o", stem, patch), 3, 2)
        x = _swish(x + self.weights[f"{conv}stem.point.bias"])
        index = 0
        for expand, kernel, stride, _, outputs, repeats in self.config.grid_stages:
            for i in range(repeats):
                x = self._inverted(x, f"{conv}blocks.{index}.", expand > 1, kernel, stride if i == 0 else 1, outputs)
                index += 1
        return _swish(self._dense(x, f"{conv}head")).reshape(-1, self.config.grid_features)

    def _inverted(self, x: np.ndarray, name: str, expands: bool, kernel: int, stride: int, outputs: int) -> np.ndarray:
        y = _swish(self._dense(x, f"{name}expand")) if expands else x
        weight = self.weights[f"{name}depthwise.weight"]
        y = _convolve(y, lambda patch: np.einsum("cde,dec->c", weight, patch), kernel, stride)
        y = _swish(y + self.weights[f"{name}depthwise.bias"])
        weighed = self._dense(_swish(self._dense(y.mean((0, 1)), f"{name}squeeze.fc1")), f"{name}squeeze.fc2")
        y = self._dense(y / (1 + np.exp(-weighed)), f"{name}project")
        return x + y if stride == 1 and x.shape[2] == outputs else y

    def _dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _stored_in_out(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str, eps: float = 1e-5) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * self.weights[f"{name}.gamma"] + self.weights[f"{name}.beta"]


def _heads(query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int) -> np.ndarray:
    size = query.shape[1] // heads
    weights = _weights(query, key, heads)
    return np.concatenate([weights[h] @ value[:, h * size : (h + 1) * size] for h in range(heads)], 1)


def _weights(query: np.ndarray, key: np.ndarray, heads: int) -> np.ndarray:
    """Compute attention weights, head by head: [heads, T, S]."""
    size = query.shape[1] // heads
    weights = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        scores = query[:, part] @ key[:, part].T / math.sqrt(size)
        shifted = np.exp(scores - scores.max(1, keepdims=True))
        weights.append(shifted / shifted.sum(1, keepdims=True))
    return np.stack(weights)


def _convolve(x: np.ndarray, kernel_of: Callable[[np.ndarray], np.ndarray], kernel: int, stride: int) -> np.ndarray:
    """Pad x [h, w, C] by kernel // 2, and apply `kernel_of` to each patch [kernel, kernel, C]."""
    half = kernel // 2
    padded = np.pad(x, ((half, half), (half, half), (0, 0)))
    return np.stack(
        [
            np.stack([kernel_of(padded[r : r + kernel, c : c + kernel]) for c in range(0, x.shape[1], stride)])
            for r in range(0, x.shape[0], stride)
        ]
    )


def _swish(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _gelu_erf(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / math.sqrt(max((x * x).sum(), 1e-4))
