"""SingleStreamModel: Taichu-OPT-v1 and the model zoo's OPT. They read a sentence and an image as one sequence.

Source: OPT specification, 2.1 and 2.2. Attribute paths are the parameter names of the published checkpoints.

Audio is left out: it is masked in retrieval, and a masked token has an attention weight of exactly 0. The same holds for
padding and for the ViT's last token. Where masked tokens stand in the sequence makes no difference, because position
embeddings are added before the sequence is put together.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from encoder.network.blocks import INIT_STD, MASKED, Blocks, EncoderBlock, Table, dense
from encoder.network.region_stream import RegionEmbedding, padding_bias
from encoder.single_stream_config import SingleStreamConfig

TEXT, IMAGE = 0, 1
"""Rows of the token type table."""


class TextEmbedding(nn.Cell):
    """The embedding of a text: LN(word + position + type)."""

    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        self.word_embeddings = Table(config.vocab_size, config.hidden_size)
        self.position_embeddings = Table(config.max_positions, config.hidden_size)
        self.token_type_embeddings = Table(config.type_vocab_size, config.hidden_size)
        self.layernorm = nn.LayerNorm((config.hidden_size,), epsilon=1e-5)

    def construct(self, ids: Tensor) -> Tensor:
        """Embed ids int32 [B, T] -> [B, T, H]."""
        positions = self.position_embeddings.embedding_table[: ids.shape[1]]
        return self.layernorm(self.word_embeddings(ids) + positions + self.type(TEXT))

    def type(self, row: int) -> Tensor:
        """Look up the embedding [H] of a token type."""
        return self.token_type_embeddings.embedding_table[row]


class _Dense(nn.Cell):
    """A Dense layer under the parameter name `dense`."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.dense = dense(inputs, outputs)

    def construct(self, x: Tensor) -> Tensor:
        """Apply the layer: [..., in] -> [..., out]."""
        return self.dense(x)


class _Stem(nn.Cell):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.patch_to_embedding = _Dense(inputs, outputs)


class SingleStreamVit(nn.Cell):
    """V1's ViT as it was published: no class token, patch k at position k, and a patch of zeros at the end.

    The ViT itself was trained with a class token at position 0, so every patch is one position too early here. The weights of
    the other layers were trained on that. The other patches attend to the patch of zeros, which is then dropped.
    """

    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        width, self.patch, self.side = config.image_width, config.patch_size, config.grid
        self.encoder_pos_embedding = Parameter(initializer(Normal(INIT_STD), (1, self.side**2 + 1, width), ms.float32))
        self.stem = _Stem(3 * self.patch**2, width)
        self.encoder = Blocks(
            EncoderBlock(width, config.image_heads, config.image_intermediate) for _ in range(config.image_layers)
        )
        self.norm = nn.LayerNorm((width,), epsilon=1e-5)
        self.no_bias = Tensor(0.0, ms.float32)
        self.mean = Tensor(255 * np.array(config.image_mean, np.float32).reshape(1, 3, 1, 1))
        self.std = Tensor(255 * np.array(config.image_std, np.float32).reshape(1, 3, 1, 1))

    def construct(self, pixels: Tensor) -> Tensor:
        """Encode images: pixels float32 0..255 [B, 3, S, S] -> [B, patches, W], patches row by row."""
        return self.states(pixels)[:, :-1]

    def states(self, pixels: Tensor) -> Tensor:
        """Compute `construct` with the state of the patch of zeros at the end: [B, patches + 1, W]."""
        g, p = self.side, self.patch
        x = ((pixels - self.mean) / self.std).reshape((-1, 3, g, p, g, p)).transpose((0, 2, 4, 1, 3, 5))
        x = x.reshape((-1, g * g, 3 * p * p))
        x = self.stem.patch_to_embedding(ops.concat((x, ops.zeros_like(x[:, :1])), axis=1)) + self.encoder_pos_embedding
        for block in self.encoder.blocks:
            x = block(x, self.no_bias)
        return self.norm(x)


class PatchEmbedding(nn.Cell):
    """The embedding of the ViT's output v: LN(LN(linear(v + row 0 of the mask table)) + position + type)."""

    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        width = config.hidden_size
        self.img_linear = dense(config.image_width, width)
        self.img_layer_norm = nn.LayerNorm((width,), epsilon=1e-5)
        self.mask_embedding = Table(2, config.image_width)
        self.position_embeddings = Table(config.max_positions, width)
        self.LayerNorm = nn.LayerNorm((width,), epsilon=1e-5)
        self.vit = SingleStreamVit(config)

    def embed(self, tokens: Tensor, type_embedding: Tensor) -> Tensor:
        """Embed tokens [B, patches, W] with the embedding of their type [H] -> [B, patches, H]."""
        x = self.img_layer_norm(self.img_linear(tokens + self.mask_embedding.embedding_table[0]))
        return self.LayerNorm(x + self.position_embeddings.embedding_table[: tokens.shape[1]] + type_embedding)


class _Trunk(nn.Cell):
    """The blocks that read text and image as one sequence, under the parameter name `encoder`."""

    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        self.encoder = Blocks(
            EncoderBlock(config.hidden_size, config.heads, config.intermediate, config.in_out) for _ in range(config.layers)
        )

    def construct(self, x: Tensor, bias: Tensor) -> Tensor:
        """Compute the last block's first token, all that the head reads: x [B, T, H], bias [B, 1, 1, T] -> [B, H]."""
        for block in self.encoder.blocks[:-1]:
            x = block(x, bias)
        return self.encoder.blocks[-1].first(x, bias)[:, 0]


class _Uniter(nn.Cell):
    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        self.embeddings = TextEmbedding(config)
        if config.regions:
            self.img_embeddings = RegionEmbedding(config.hidden_size, config.region_width)
        else:
            self.img_embeddings = PatchEmbedding(config)
        self.encoder = _Trunk(config)
        self.pooler = _Dense(config.hidden_size, config.hidden_size)


class SingleStreamModel(nn.Cell):
    """The whole network: the tokens of an image, and the match logit of a pair."""

    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        self.config = config
        self.uniter = _Uniter(config)
        self.rank_output = dense(config.hidden_size, 1)

    def image_tokens(self, inputs: Tensor) -> Tensor:
        """Encode images: pixels float32 0..255 [B, 3, S, S], or rows of regions [B, R, F + 8] -> tokens [B, L, W].

        The tokens of pixels are the ViT's output, which is narrower than its embedding. The tokens of regions are their
        embedding, 0 for padding.
        """
        if not self.config.regions:
            return self.uniter.img_embeddings.vit(inputs)
        x, valid = self.uniter.img_embeddings.embed(inputs, self.uniter.embeddings.type(IMAGE))
        return x * valid

    def match_logits(self, ids: Tensor, valid: Tensor, tokens: Tensor) -> Tensor:
        """Score pairs.

        Args:
            ids: of the texts, int32 [B, T].
            valid: 1 for a token and 0 for padding, [B, T].
            tokens: of the images, as `image_tokens` makes them, [B, L, W].

        Returns:
            The rank logits, float32 [B].
        """
        images = tokens
        if not self.config.regions:
            images = self.uniter.img_embeddings.embed(tokens, self.uniter.embeddings.type(IMAGE))
        x = ops.concat((self.uniter.embeddings(ids), images), axis=1)
        padding = (1.0 - valid.astype(ms.float32)) * MASKED
        bias = ops.concat((padding.expand_dims(1).expand_dims(1), padding_bias(tokens)), axis=3)
        pooled = ops.tanh(self.uniter.pooler(self.uniter.encoder(x, bias)))
        return self.rank_output(pooled)[:, 0]

    def construct(self, ids: Tensor, inputs: Tensor) -> Tensor:
        """Score pairs: ids int32 [B, T], 0 for padding, and images -> match logits [B]."""
        return self.match_logits(ids, ids != 0, self.image_tokens(inputs))
