"""The captioners in plain numpy, written from the OPT specification of captions and nothing of encoder/.

They take one image at a time, read a whole caption at each word, and keep nothing. `mistakes` makes those that raise no error
(8), to show that a comparison finds them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from tests.support.numpy_opt import NumpyOpt
from tests.support.numpy_single_stream import NumpyV1, NumpyZoo

MASKED = -10000.0


class _Parts:
    """Blocks, with weights by their published names.

    Args:
        in_out: whether blocks store projections and feed-forwards as [in, out].
        relu: whether feed-forwards have ReLU, and not the tanh GELU.
        mistakes: "transposed": attentions' projections, which are square, are read the other way round.
    """

    def __init__(self, weights: dict[str, np.ndarray], heads: int, in_out: bool, relu: bool, mistakes: Collection[str] = ()):
        self.w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        self.heads, self.in_out, self.relu = heads, in_out, relu
        self.transposed = "transposed" in mistakes

    def dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def stored(self, x: np.ndarray, name: str, in_out: bool) -> np.ndarray:
        weight = self.w[f"{name}.weight"]
        return x @ (weight if in_out else weight.T) + self.w[f"{name}.bias"]

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        return plain_norm(x) * self.w[f"{name}.gamma"] + self.w[f"{name}.beta"]

    def attend(self, x: np.ndarray, memory: np.ndarray, name: str, bias: np.ndarray) -> np.ndarray:
        query, key, value = (self.dense(one, f"{name}dense{i}") for i, one in ((1, x), (2, memory), (3, memory)))
        size = query.shape[1] // self.heads
        mixed = np.empty_like(query)
        for h in range(self.heads):
            at = slice(h * size, (h + 1) * size)
            chances = softmax(query[:, at] @ key[:, at].T / math.sqrt(size) + bias)
            mixed[:, at] = chances @ value[:, at]
        return self.stored(mixed, f"{name}projection", self.in_out != self.transposed)

    def feed_forward(self, x: np.ndarray, name: str) -> np.ndarray:
        hidden = self.stored(self.norm(x, f"{name}layernorm2"), f"{name}output.mapping", self.in_out)
        return self.stored(np.maximum(hidden, 0) if self.relu else gelu(hidden), f"{name}output.projection", self.in_out)

    def encoder_block(self, x: np.ndarray, name: str, bias: np.ndarray) -> np.ndarray:
        normed = self.norm(x, f"{name}layernorm1")
        x = x + self.attend(normed, normed, f"{name}attention.", bias)
        return x + self.feed_forward(x, name)

    def decoder_block(
        self, x: np.ndarray, name: str, bias: np.ndarray, memory: np.ndarray, memory_bias: np.ndarray
    ) -> np.ndarray:
        normed = self.norm(x, f"{name}layernorm1")
        x = x + self.attend(normed, normed, f"{name}attention.", bias)
        normed = self.norm(x, f"{name}cross_attention_layernorm")
        x = x + self.attend(normed, memory, f"{name}cross_attention.", memory_bias)
        return x + self.feed_forward(x, name)


class NumpyCap:
    """Taichu-OPT-CAP (5), and opt-mini's captioner, which is given an encoder's tokens.

    Args:
        text_layers, fusion_layers: the number of blocks.
        bidirectional: as in the published evaluation.
    """

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        heads: int,
        text_layers: int,
        fusion_layers: int,
        bidirectional: bool = False,
        mistakes: Collection[str] = (),
    ):
        self.parts = _Parts(weights, heads, True, False, mistakes)
        self.text_layers, self.fusion_layers = text_layers, fusion_layers
        self.bidirectional, self.mistakes = bidirectional, mistakes

    def states(self, config: Any, pixels: np.ndarray) -> np.ndarray:
        """Encode an image: uint8 [S, S, 3] -> [L, H]. `config`: the sizes of the image stream, as `NumpyOpt` takes them."""
        return NumpyOpt(config, self.parts.w).image_tokens(pixels)

    def logits(self, tokens: np.ndarray, ids: list[int]) -> np.ndarray:
        """Score the next word after each of the ids, begin first: tokens [L, H] -> [T, V]."""
        if self.bidirectional:
            return np.stack([self._read(tokens, ids[: t + 1], np.zeros((t + 1, t + 1)))[-1] for t in range(len(ids))])
        return self._read(tokens, ids, causal(len(ids)))

    def _read(self, tokens: np.ndarray, ids: list[int], bias: np.ndarray) -> np.ndarray:
        p, e = self.parts, "uniter.embeddings."
        table = p.w["cls.predictions.decoder.weight"]
        x = table[ids] + p.w[f"{e}position_embeddings.embedding_table"][: len(ids)]
        x = p.norm(x + p.w[f"{e}token_type_embeddings.embedding_table"][0], f"{e}layernorm")
        for i in range(self.text_layers):
            x = p.encoder_block(x, f"{e}encoder.blocks.{i}.", bias)
        for i in range(self.fusion_layers):
            x = p.decoder_block(x, f"uniter.encoder.decoder.blocks.{i}.", bias, tokens, np.zeros(1))
        if "last norm" in self.mistakes:
            x = plain_norm(x)
        hidden = p.dense(x, "cls.predictions.transform.dense")
        hidden = gelu(hidden) if "gelu in the head" in self.mistakes else np.maximum(hidden, 0)
        return p.norm(hidden, "cls.predictions.transform.LayerNorm") @ table.T + p.w["cls.predictions.decoder.bias"]


class NumpyTextOutput:
    """The captioners of V1 and of the model zoo (1, 3 and 4).

    Args:
        trunk: `NumpyV1` or `NumpyZoo`, whose embeddings and blocks are read.
        layers: the number of blocks of the encoder, and of the decoder.
        last_patch: whether V1's patch of zeros is read.
    """

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        trunk: NumpyV1 | NumpyZoo,
        heads: int,
        layers: tuple[int, int],
        last_patch: bool = False,
        mistakes: Collection[str] = (),
    ):
        self.parts = _Parts(weights, heads, False, "gelu" not in mistakes, mistakes)
        self.trunk, self.layers, self.last_patch, self.mistakes = trunk, layers, last_patch, mistakes

    def states_of_patches(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read a photo with V1's trunk: uint8 [S, S, 3] -> all states [L, H], and 1 or 0 for what is attended to [L]."""
        assert isinstance(self.trunk, NumpyV1)
        w, e = self.trunk.w, "uniter.img_embeddings."
        v = self.trunk.vit(pixels)
        if "mask embedding" in self.mistakes:
            v = v + w[f"{e}mask_embedding.embedding_table"][0]
        x = self.trunk.norm(self.trunk.dense(v, f"{e}img_linear"), f"{e}img_layer_norm")
        x = x + w[f"{e}position_embeddings.embedding_table"][: len(v)]
        x = self.trunk.norm(x + w["uniter.embeddings.token_type_embeddings.embedding_table"][1], f"{e}LayerNorm")
        valid = np.ones(len(x))
        if not self.last_patch:
            valid[-1] = 0
        return self._trunk_states(x, valid), valid

    def states_of_regions(self, found: dict[str, np.ndarray], padding: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Read a detector's regions with the zoo's trunk, with rows of zeros behind them: states [N, H] and validity [N]."""
        assert isinstance(self.trunk, NumpyZoo)
        more = np.zeros((padding, found["feat"].shape[1])), np.zeros((padding, 4))
        feat, boxes = np.concatenate([found["feat"], more[0]]), np.concatenate([found["pred_boxes"], more[1]])
        x = self.trunk.image(feat, boxes, int(found["width"]), int(found["height"]))
        valid = (np.arange(len(x)) < len(found["feat"])).astype(float)
        if "a joint sequence" in self.mistakes:  # with the begin of a text before it
            kinds = self.trunk.w["uniter.embeddings.token_type_embeddings.embedding_table"]
            x, valid = np.concatenate([plain_norm(kinds[:1]), x]), np.concatenate([[1.0], valid])
        return self._trunk_states(x, valid), valid

    def _trunk_states(self, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        bias = (1 - np.outer(valid, valid)) * MASKED
        for i in range(self.trunk.layers):
            x = self.trunk.block(x, f"uniter.encoder.encoder.blocks.{i}.", self.trunk.heads, bias, self.trunk.in_out)
        return x

    def logits(self, states: np.ndarray, valid: np.ndarray, ids: list[int]) -> np.ndarray:
        """Score the next word after each of the ids, begin first: states [N, H], validity [N] -> [T, V]."""
        p, mistakes = self.parts, self.mistakes
        memory = p.dense(states, "txt_output.LinearEmbedding")
        if "encoder positions" in mistakes:
            memory = memory + sinusoids(len(memory), memory.shape[1])
        bias = (1 - np.outer(valid, valid)) * MASKED
        for i in range(self.layers[0]):
            memory = p.encoder_block(memory, f"txt_output.tfm_encoder.blocks.{i}.", bias)
        if "encoder norm" in mistakes:
            memory = plain_norm(memory)
        table = p.w["txt_output.tfm_embedding_lookup.embedding_table"]
        scale = 1.0 if "no factor" in mistakes else math.sqrt(table.shape[1])
        x = scale * table[ids] + sinusoids(len(ids), table.shape[1], mistakes)
        for i in range(self.layers[1]):
            name = f"txt_output.tfm_decoder.blocks.{i}."
            x = p.decoder_block(x, name, causal(len(ids)), memory, (1 - valid)[None] * MASKED)
        return (plain_norm(x) if "last norm" in mistakes else x) @ table.T


def sinusoids(length: int, width: int, mistakes: Collection[str] = ()) -> np.ndarray:
    """The positions of the decoder (1): sines, then cosines."""
    half = width // 2
    out = np.empty((length, width))
    for t in range(length):
        for i in range(half):
            angle = t * math.exp(-i * math.log(10000) / (half if "rates to 512" in mistakes else half - 1))
            at = (2 * i, 2 * i + 1) if "interleaved" in mistakes else (i, half + i)
            out[t, at[0]], out[t, at[1]] = math.sin(angle), math.cos(angle)
    return out


def causal(length: int) -> np.ndarray:
    """The mask that hides what comes after each word."""
    return (1 - np.tril(np.ones((length, length)))) * MASKED


def plain_norm(x: np.ndarray) -> np.ndarray:
    """A layer norm without weights."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def softmax(x: np.ndarray) -> np.ndarray:
    chances = np.exp(x - x.max(-1, keepdims=True))
    return chances / chances.sum(-1, keepdims=True)


def log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def published_search(
    log_probabilities: Callable[[list[int]], np.ndarray],
    steps: int,
    beams: int,
    begin: int = 0,
    end: int = 0,
    mistakes: Collection[str] = (),
) -> tuple[list[int], float]:
    """Search for the caption of one image as it is specified (2), beam by beam, without stopping early.

    Args:
        log_probabilities: scores what comes next after ids, begin first: [V].

    Returns:
        The ids up to the end, and the sum of their log-probabilities.
    """
    state = [([begin], 0.0 if beam == 0 else -1e9, False, 0) for beam in range(beams)]
    for _ in range(steps):
        candidates = []
        for beam, (ids, score, finished, _length) in enumerate(state):
            scores = score + log_probabilities(ids) + (-1e9 if finished else 0.0)
            candidates += [(float(value), beam, word) for word, value in enumerate(scores)]
        candidates.sort(key=lambda one: -one[0])
        chosen = []
        for rank, (value, beam, word) in enumerate(candidates[:beams]):
            chosen.append((state[rank][1], rank, end) if state[rank][2] else (value, beam, word))
        chosen.sort(key=lambda one: 1e9 if one[2] == end else -one[0])
        state = [
            ([*state[beam][0], word], value, word == end, state[beam][3] + (not state[beam][2])) for value, beam, word in chosen
        ]
    without_end = "length without the end" in mistakes

    def final(beam: tuple[list[int], float, bool, int]) -> float:
        _, score, finished, length = beam
        return score if "no penalty" in mistakes else score / ((length - (without_end and finished) + 5) / 6)

    ids, score, _, _ = max(state, key=final)
    rest = ids[1:]
    return rest[: rest.index(end)] if end in rest else rest, score
