"""The dual-stream OPT with a detector's regions in plain numpy.

It is written from the OPT specification (2.0, 2.1, 2.3, 4.1) and nothing of encoder/. Text stream, cross-modal encoder and
heads are V2's. The image stream is the model zoo's embedding of regions behind a class token, pre-LN blocks and a last norm.
"""

from __future__ import annotations

import math

import numpy as np

IMAGES, TEXTS, FUSION = "uniter.img_embeddings.", "uniter.embeddings.", "uniter.encoder.decoder."


class NumpyRegions:
    """The network, with weights by name; every attention has `heads` heads. Every method takes one example, without padding."""

    def __init__(self, weights: dict[str, np.ndarray], text_layers: int, image_layers: int, fusion_layers: int, heads: int):
        self.w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        self.text_layers, self.image_layers, self.fusion_layers, self.heads = text_layers, image_layers, fusion_layers, heads

    def text_states(self, ids: list[int]) -> np.ndarray:
        """Encode a text: ids [T] -> [T, H]."""
        x = np.stack([self.w["cls.predictions.decoder.weight"][token] for token in ids])
        x = x + self.w[f"{TEXTS}position_embeddings.embedding_table"][: len(ids)] + self._type(0)
        x = self._norm(x, f"{TEXTS}layernorm")
        for i in range(self.text_layers):
            x = self._block(x, f"{TEXTS}encoder.blocks.{i}.")
        return x

    def image_tokens(self, feat: np.ndarray, boxes: np.ndarray, width: int, height: int) -> np.ndarray:
        """Encode regions: feat [N, F], boxes [N, 4] in pixels -> [1 + N, H]."""
        geometry = [
            (
                x1 / width,
                y1 / height,
                x2 / width,
                y2 / height,
                (x2 - x1) / width,
                (y2 - y1) / height,
                (x2 - x1) / width * (y2 - y1) / height,
            )
            for x1, y1, x2, y2 in boxes.astype(np.float64)
        ]
        features = self._norm(self._dense(feat.astype(np.float64), f"{IMAGES}img_linear"), f"{IMAGES}img_layer_norm")
        positions = self._norm(self._dense(np.array(geometry), f"{IMAGES}pos_linear"), f"{IMAGES}pos_layer_norm")
        x = self._norm(features + positions + self._type(1), f"{IMAGES}LayerNorm")
        x = np.concatenate([self.w[f"{IMAGES}class_embedding"][None], x])
        for i in range(self.image_layers):
            x = self._block(x, f"{IMAGES}encoder.blocks.{i}.")
        return self._norm(x, f"{IMAGES}post_layernorm")

    def text_vector(self, states: np.ndarray) -> np.ndarray:
        """Project a text: states [T, H] -> unit vector [D]."""
        return self._unit(self._dense(states[0], "text_proj"))

    def image_vector(self, tokens: np.ndarray) -> np.ndarray:
        """Project an image: tokens [1 + N, H] -> unit vector [D]."""
        return self._unit(self._dense(tokens[0], "vision_proj"))

    def match_logit(self, states: np.ndarray, tokens: np.ndarray) -> float:
        """Score a pair: logit 1 of the ITM head."""
        x = states
        for i in range(self.fusion_layers):
            name = f"{FUSION}blocks.{i}."
            normed = self._norm(x, f"{name}layernorm1")
            x = x + self._attend(normed, normed, f"{name}attention.")
            x = x + self._attend(self._norm(x, f"{name}cross_attention_layernorm"), tokens, f"{name}cross_attention.")
            x = x + self._feed_forward(self._norm(x, f"{name}layernorm2"), name)
        hidden = self._gelu(self._norm(self._dense(x[0], "itm_head_two.0"), "itm_head_two.1"))
        return float(self._dense(hidden, "itm_head_two.3")[1])

    def _type(self, row: int) -> np.ndarray:
        return self.w[f"{TEXTS}token_type_embeddings.embedding_table"][row]

    def _block(self, x: np.ndarray, name: str) -> np.ndarray:
        normed = self._norm(x, f"{name}layernorm1")
        x = x + self._attend(normed, normed, f"{name}attention.")
        return x + self._feed_forward(self._norm(x, f"{name}layernorm2"), name)

    def _attend(self, x: np.ndarray, memory: np.ndarray, name: str) -> np.ndarray:
        query, key, value = (self._dense(side, f"{name}dense{i}") for i, side in ((1, x), (2, memory), (3, memory)))
        size, parts = x.shape[1] // self.heads, []
        for head in range(self.heads):
            at = slice(head * size, (head + 1) * size)
            scores = np.exp(query[:, at] @ key[:, at].T / math.sqrt(size))
            parts.append(scores / scores.sum(1, keepdims=True) @ value[:, at])
        return np.concatenate(parts, 1) @ self.w[f"{name}projection.weight"] + self.w[f"{name}projection.bias"]

    def _feed_forward(self, x: np.ndarray, name: str) -> np.ndarray:
        hidden = self._gelu(x @ self.w[f"{name}output.mapping.weight"] + self.w[f"{name}output.mapping.bias"])
        return hidden @ self.w[f"{name}output.projection.weight"] + self.w[f"{name}output.projection.bias"]

    def _dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.w[f"{name}.gamma"] + self.w[f"{name}.beta"]

    @staticmethod
    def _gelu(x: np.ndarray) -> np.ndarray:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    @staticmethod
    def _unit(x: np.ndarray) -> np.ndarray:
        return x / math.sqrt(max((x * x).sum(), 1e-4))
