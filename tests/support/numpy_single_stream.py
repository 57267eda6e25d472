"""The single-stream OPTs in plain numpy, written from the OPT specification (2.0, 2.1, 2.2, 4.1) and nothing of encoder/.

`NumpyV1` is Taichu-OPT-v1, `NumpyZoo` the model zoo's OPT. They take one pair at a time, with the order, padding and masks
that were published.
"""

from __future__ import annotations

import math

import numpy as np


class _NumpySingleStream:
    """The parts that both networks have: text embedding, blocks, rank head.

    Args:
        weights: by their published names.
        layers: the number of blocks.
        heads: the number of heads of a block.
        in_out: whether the blocks store projections as [in, out].
    """

    def __init__(self, weights: dict[str, np.ndarray], layers: int, heads: int, in_out: bool):
        self.w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        self.layers, self.heads, self.in_out = layers, heads, in_out

    def text(self, ids: list[int]) -> np.ndarray:
        """Embed a text, LN(word + position + type 0): ids [T] -> [T, H]."""
        e = "uniter.embeddings."
        rows = [
            self.w[f"{e}word_embeddings.embedding_table"][token]
            + self.w[f"{e}position_embeddings.embedding_table"][place]
            + self.w[f"{e}token_type_embeddings.embedding_table"][0]
            for place, token in enumerate(ids)
        ]
        return self.norm(np.stack(rows), f"{e}layernorm")

    def score(self, x: np.ndarray, valid: np.ndarray) -> float:
        """Compute the rank logit of a sequence [S, H]; `valid` [S] is 1 for what is attended to."""
        bias = (1 - np.outer(valid, valid)) * -10000.0
        for i in range(self.layers):
            x = self.block(x, f"uniter.encoder.encoder.blocks.{i}.", self.heads, bias, self.in_out)
        pooled = np.tanh(self.dense(x[0], "uniter.pooler.dense"))
        return float(self.dense(pooled, "rank_output")[0])

    def block(self, x: np.ndarray, name: str, heads: int, bias: np.ndarray | float, in_out: bool) -> np.ndarray:
        normed = self.norm(x, f"{name}layernorm1")
        query, key, value = (self.dense(normed, f"{name}attention.dense{i}") for i in (1, 2, 3))
        mixed = np.empty_like(x)
        size = x.shape[1] // heads
        for h in range(heads):
            at = slice(h * size, (h + 1) * size)
            scores = query[:, at] @ key[:, at].T / math.sqrt(size) + bias
            chances = np.exp(scores - scores.max(1, keepdims=True))
            mixed[:, at] = chances / chances.sum(1, keepdims=True) @ value[:, at]
        x = x + self.stored(mixed, f"{name}attention.projection", in_out)
        hidden = self.stored(self.norm(x, f"{name}layernorm2"), f"{name}output.mapping", in_out)
        hidden = 0.5 * hidden * (1 + np.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
        return x + self.stored(hidden, f"{name}output.projection", in_out)

    def stored(self, x: np.ndarray, name: str, in_out: bool) -> np.ndarray:
        weight = self.w[f"{name}.weight"]
        return x @ (weight if in_out else weight.T) + self.w[f"{name}.bias"]

    def dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, x: np.ndarray, name: str, eps: float = 1e-5) -> np.ndarray:
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + eps) * self.w[f"{name}.gamma"] + self.w[f"{name}.beta"]


class NumpyV1(_NumpySingleStream):
    """Taichu-OPT-v1 (2.2): pixels, 197 patches of which the last is zeros, one sequence of text, image and audio."""

    MEAN, STD = 255 * np.array([0.485, 0.456, 0.406]), 255 * np.array([0.229, 0.224, 0.225])

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        layers: int,
        heads: int,
        patch: int,
        vit_layers: int,
        vit_heads: int,
        text_length: int = 50,
    ):
        super().__init__(weights, layers, heads, in_out=True)
        self.patch, self.vit_layers, self.vit_heads, self.text_length = patch, vit_layers, vit_heads, text_length

    def vit(self, pixels: np.ndarray) -> np.ndarray:
        """Run the ViT: uint8 [S, S, 3] -> [patches + 1, W]."""
        v, p = "uniter.img_embeddings.vit.", self.patch
        planes = ((pixels - self.MEAN) / self.STD).transpose(2, 0, 1)
        side = pixels.shape[0] // p
        patches = [planes[:, r * p : (r + 1) * p, c * p : (c + 1) * p].reshape(-1) for r in range(side) for c in range(side)]
        patches.append(np.zeros(3 * p * p))
        x = self.dense(np.stack(patches), f"{v}stem.patch_to_embedding.dense")
        x = x + self.w[f"{v}encoder_pos_embedding"][0]
        for i in range(self.vit_layers):
            x = self.block(x, f"{v}encoder.blocks.{i}.", self.vit_heads, 0.0, True)
        return self.norm(x, f"{v}norm")

    def image(self, tokens: np.ndarray) -> np.ndarray:
        """Embed the ViT's output: [n, W] -> [n, H]."""
        e = "uniter.img_embeddings."
        x = self.norm(
            self.dense(tokens + self.w[f"{e}mask_embedding.embedding_table"][0], f"{e}img_linear"), f"{e}img_layer_norm"
        )
        x = x + self.w[f"{e}position_embeddings.embedding_table"][: len(tokens)]
        return self.norm(x + self.w["uniter.embeddings.token_type_embeddings.embedding_table"][1], f"{e}LayerNorm")

    def match_logit(self, ids: list[int], tokens: np.ndarray, audio: int = 6) -> float:
        """Score a text with the ViT's output [patches + 1, W].

        The padded text is followed by the image and by masked audio. A gather then moves the image to the end of the text.
        """
        padded = ids + [0] * (self.text_length - len(ids))
        silence = np.random.default_rng(0).normal(size=(audio, self.w["rank_output.weight"].shape[1]))
        x = np.concatenate([self.text(padded), self.image(tokens), silence])
        count, length = len(tokens) - 1, len(ids)
        order = np.arange(len(x))
        order[length : length + count] = self.text_length + np.arange(count)
        valid = (np.arange(len(x)) < length + count).astype(float)
        return self.score(x[order], valid)


class NumpyZoo(_NumpySingleStream):
    """The model zoo's OPT (2.1): a detector's regions, with geometry and without position embeddings."""

    def __init__(self, weights: dict[str, np.ndarray], layers: int, heads: int, text_length: int = 30, regions: int = 30):
        super().__init__(weights, layers, heads, in_out=False)
        self.text_length, self.regions = text_length, regions

    def image(self, feat: np.ndarray, boxes: np.ndarray, width: int, height: int) -> np.ndarray:
        """Embed regions: feat [N, F], boxes [N, 4] in pixels -> [N, H]."""
        e = "uniter.img_embeddings."
        x1, y1, x2, y2 = boxes.astype(np.float64).T
        w, h = (x2 - x1) / width, (y2 - y1) / height
        geometry = np.stack([x1 / width, y1 / height, x2 / width, y2 / height, w, h, w * h], 1)
        x = self.norm(self.dense(feat.astype(np.float64), f"{e}img_linear"), f"{e}img_layer_norm")
        x = x + self.norm(self.dense(geometry, f"{e}pos_linear"), f"{e}pos_layer_norm")
        return self.norm(x + self.w["uniter.embeddings.token_type_embeddings.embedding_table"][1], f"{e}LayerNorm")

    def match_logit(self, ids: list[int], image: np.ndarray) -> float:
        """Score a text with embedded regions [N, H]. Masked tokens come after text and image."""
        padded = self.text(ids + [0] * (self.text_length - len(ids)))
        missing = np.full((self.regions - len(image), image.shape[1]), 3.0)
        x = np.concatenate([padded[: len(ids)], image, padded[len(ids) :], missing])
        return self.score(x, (np.arange(len(x)) < len(ids) + len(image)).astype(float))
