"""CaptionerModel: OPT writes captions (OPT specification, captions, 5): text stream and fusion made causal, and a word head.

Attribute paths are the parameter names of the published checkpoint.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from encoder.captioner_config import CaptionerConfig
from encoder.config import encoder_beside
from encoder.network.blocks import INIT_STD, MASKED, Attention, Blocks, DecoderBlock, EncoderBlock, Table, dense
from encoder.network.opt import Vit


class _TextStream(nn.Cell):
    """The parameters of the text stream; see `encoder.network.opt.TextStream`."""

    def __init__(self, config: CaptionerConfig):
        super().__init__()
        self.position_embeddings = Table(config.max_positions, config.hidden_size)
        self.token_type_embeddings = Table(config.type_vocab_size, config.hidden_size)
        self.layernorm = nn.LayerNorm((config.hidden_size,), epsilon=1e-5)
        self.encoder = Blocks(
            EncoderBlock(config.hidden_size, config.heads, config.text_intermediate) for _ in range(config.text_layers)
        )

    def embed(self, words: Tensor, positions: Tensor) -> Tensor:
        """Add positions [T, H] and the type to embedded words [B, T, H], and normalise -> [B, T, H]."""
        return self.layernorm(words + positions + self.token_type_embeddings.embedding_table[0])


class _Fusion(nn.Cell):
    def __init__(self, config: CaptionerConfig):
        super().__init__()
        self.decoder = Blocks(
            DecoderBlock(config.hidden_size, config.heads, config.fusion_intermediate) for _ in range(config.fusion_layers)
        )


class _ImageStream(nn.Cell):
    """The ViT of Taichu-OPT-v2, under the parameter name `vit`."""

    def __init__(self, config: CaptionerConfig):
        super().__init__()
        self.vit = Vit(encoder_beside(config))


class _Uniter(nn.Cell):
    def __init__(self, config: CaptionerConfig):
        super().__init__()
        self.embeddings = _TextStream(config)
        if config.image_size:
            self.img_embeddings = _ImageStream(config)
        self.encoder = _Fusion(config)


class _Transform(nn.Cell):
    """What stands before the word table: Dense, ReLU (although OPT's hidden_act is gelu), LayerNorm."""

    def __init__(self, width: int):
        super().__init__()
        self.dense = dense(width, width)
        self.LayerNorm = nn.LayerNorm((width,), epsilon=1e-5)

    def construct(self, x: Tensor) -> Tensor:
        """Apply the layers: [..., H] -> [..., H]."""
        return self.LayerNorm(ops.relu(self.dense(x)))


class _WordTable(nn.Cell):
    """The word embedding, which is the output table too."""

    def __init__(self, config: CaptionerConfig):
        super().__init__()
        self.weight = Parameter(initializer(Normal(INIT_STD), (config.vocab_size, config.hidden_size), ms.float32))
        self.bias = Parameter(initializer("zeros", (config.vocab_size,), ms.float32))
        self.product = ops.MatMul(transpose_b=True)
        self.width, self.size = config.hidden_size, config.vocab_size

    def construct(self, ids: Tensor) -> Tensor:
        """Look up ids: int32 [...] -> float32 [..., H]."""
        return ops.gather(self.weight, ids, 0)

    def logits(self, x: Tensor) -> Tensor:
        """Score every word: [..., H] -> [..., V]."""
        flat = self.product(x.reshape((-1, self.width)), self.weight) + self.bias
        return flat.reshape(x.shape[:-1] + (self.size,))


class _Predictions(nn.Cell):
    def __init__(self, config: CaptionerConfig):
        super().__init__()
        self.transform = _Transform(config.hidden_size)
        self.decoder = _WordTable(config)


class _Cls(nn.Cell):
    def __init__(self, config: CaptionerConfig):
        super().__init__()
        self.predictions = _Predictions(config)


class CaptionerModel(nn.Cell):
    """A network that writes captions, word by word, of an image's tokens."""

    def __init__(self, config: CaptionerConfig):
        super().__init__()
        self.config = config
        self.cls = _Cls(config)
        self.uniter = _Uniter(config)
        rows = np.tril(np.ones((config.max_positions, config.max_positions), np.float32))
        self.causal = Tensor((1.0 - rows) * MASKED)

    @property
    def _text_blocks(self) -> nn.CellList:
        return self.uniter.embeddings.encoder.blocks

    @property
    def _fusion_blocks(self) -> nn.CellList:
        return self.uniter.encoder.decoder.blocks

    def image_tokens(self, pixels: Tensor) -> Tensor:
        """Encode images with the captioner's own image stream: pixels 0..255 [B, 3, S, S] -> tokens [B, L, H]."""
        return self.uniter.img_embeddings.vit(pixels)

    def memory(self, tokens: Tensor) -> Tensor:
        """Project image tokens to what the fusion attends to: [B, L, H] -> keys and values [B, 2 * fusion layers, L, H]."""
        return project_all(self._fusion_blocks, tokens)

    def construct(self, ids: Tensor, memory: Tensor) -> Tensor:
        """Score the next word at every place, each place reading what stands before it ("teacher forcing").

        Args:
            ids: C captions of each image in turn, int32 [C * B, T]; the first id of each is a language's `begin`.
            memory: of the images, as `memory` gives it, [B, 2 * fusion layers, L, H].

        Returns:
            float32 [C * B, T, H], from which `logits` scores the words.
        """
        length, images, width = ids.shape[1], memory.shape[0], self.config.hidden_size
        bias = self.causal[:length, :length]
        positions = self.uniter.embeddings.position_embeddings.embedding_table[:length]
        x = self.uniter.embeddings.embed(self.cls.predictions.decoder(ids), positions)
        for block in self._text_blocks:
            x = block(x, bias)
        for i, block in enumerate(self._fusion_blocks):
            x = block.self_attend(x, bias).reshape((images, -1, width))
            x = block.cross_attend_projected(x, (memory[:, 2 * i], memory[:, 2 * i + 1])).reshape((-1, length, width))
        return self.cls.predictions.transform(x)

    def logits(self, x: Tensor) -> Tensor:
        """Score every word: [..., H], as `construct` gives it -> [..., V]."""
        return self.cls.predictions.decoder.logits(x)

    def next_word(self, ids: Tensor, places: Tensor, memory: Tensor) -> Tensor:
        """Score the next word where every word attends to all words that are written, as in the published evaluation.

        The states of all words change with each word, so that no keys and values can be kept.

        Args:
            ids: int32 [B, T]; what stands after the last word is not read.
            places: the place of the last word, 1 there and 0 elsewhere, float32 [B, T].
            memory: of the images, as `memory` gives it, [n, 2 * fusion layers, L, H]; B / n captions in turn are of one image.

        Returns:
            Log-probabilities float32 [B, V].
        """
        length = ids.shape[1]
        positions = self.uniter.embeddings.position_embeddings.embedding_table[:length]
        x = self.uniter.embeddings.embed(self.cls.predictions.decoder(ids), positions)
        bias = self._after(places).reshape((-1, 1, 1, length))
        for block in self._text_blocks:
            x = block(x, bias)
        for i, block in enumerate(self._fusion_blocks):
            x = cross_attend_together(block, block.self_attend(x, bias), memory[:, 2 * i], memory[:, 2 * i + 1])
        last = ops.matmul(places.expand_dims(1), x)
        return ops.log_softmax(self.logits(self.cls.predictions.transform(last))[:, 0], -1)

    def step(self, ids: Tensor, places: Tensor, cache: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Score the next word after one more word, with the keys and values of the words before it.

        Args:
            ids: the last word of each caption, int32 [B].
            places: the place of the last word, 1 there and 0 elsewhere, float32 [B, T].
            cache: keys and values of the words before, [B, 2 * layers, T, H]; what stands at `places` and after it is not read.
            memory: of the images, as `memory` gives it, [n, 2 * fusion layers, L, H]; B / n captions in turn are of one image.

        Returns:
            Log-probabilities float32 [B, V], and the last word's own keys and values [B, 2 * layers, H].
        """
        embeddings = self.uniter.embeddings
        length = places.shape[1]
        positions = ops.matmul(places, embeddings.position_embeddings.embedding_table[:length]).expand_dims(1)
        x = embeddings.embed(self.cls.predictions.decoder(ids).expand_dims(1), positions)
        bias = self._after(places).reshape((-1, 1, 1, length))
        here = places.expand_dims(2)
        own = []
        for i, block in enumerate(self._text_blocks):
            x, kv = self_attend_cached(block, x, here, bias, cache[:, 2 * i], cache[:, 2 * i + 1])
            x = x + block.output(block.layernorm2(x))
            own += kv
        first = len(self._text_blocks)
        for i, block in enumerate(self._fusion_blocks):
            at = 2 * (first + i)
            x, kv = self_attend_cached(block, x, here, bias, cache[:, at], cache[:, at + 1])
            x = cross_attend_together(block, x, memory[:, 2 * i], memory[:, 2 * i + 1])
            own += kv
        logits = self.logits(self.cls.predictions.transform(x))[:, 0]
        return ops.log_softmax(logits, -1), ops.concat(own, 1)

    def _after(self, places: Tensor) -> Tensor:
        """Make the additive mask [B, T] of what stands after the place that is 1 in each row [B, T]."""
        return MASKED * (1.0 - ops.matmul(places, 1.0 + self.causal[: places.shape[1], : places.shape[1]] / (-MASKED)))


def project_all(blocks: nn.CellList, tokens: Tensor) -> Tensor:
    """Project tokens [B, L, W] to the keys and values of the cross-attention of blocks -> [B, 2 * blocks, L, H]."""
    parts = []
    for block in blocks:
        keys, values = block.project_kv(tokens)
        parts += [keys.expand_dims(1), values.expand_dims(1)]
    return ops.concat(parts, 1)


def self_attend_cached(
    block: nn.Cell, x: Tensor, here: Tensor, bias: Tensor, keys: Tensor, values: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Let the last word attend to itself and the words before: x [B, 1, H] -> [B, 1, H], and its own key and value.

    Args:
        here: 1 at the place of the last word and 0 elsewhere, [B, T, 1].
        bias: masks what comes after, [B, 1, 1, T].
        keys, values: of the words before, [B, T, H].
    """
    attention: Attention = block.attention
    normed = block.layernorm1(x)
    key, value = attention.dense2(normed), attention.dense3(normed)
    keys, values = keys * (1.0 - here) + key * here, values * (1.0 - here) + value * here
    return x + attention.attend_projected(attention.dense1(normed), keys, values, bias), [key, value]


def cross_attend_together(block: nn.Cell, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
    """Let B captions attend to n images, B / n in turn to each: x [B, T, H], keys and values [n, L, H] -> [B, T, H].

    The words of an image are the queries of one attention, so that no image is there twice. `bias` is [n, 1, 1, L].
    """
    together = x.reshape((keys.shape[0], -1, x.shape[2]))
    return block.cross_attend_projected(together, (keys, values), bias).reshape(x.shape)
