"""SingleStreamModel: Taichu-OPT-v1 and the model zoo's OPT. They read a sentence and an image as one sequence.

Source: OPT specification, 2.1 and 2.2.

The attribute paths are the parameter names of the published checkpoints. Audio is left out: it is masked in retrieval, and a
masked token has a weight of exactly 0. So have padding and the ViT's last token, wherever they stand in the sequence, for what
tells positions apart is added before.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from encoder.network.blocks import INIT_STD, MASKED, Blocks, EncoderBlock, Table, dense
from encoder.network.region_stream import RegionEmbedding, unread
from encoder.single_stream_config import SingleStreamConfig

TEXT, IMAGE = 0, 1
"""Rows of the token type table."""


class TextEmbedding(nn.Cell):
    """LN(word + position + type), nothing more: the joint blocks do the rest."""

    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        self.word_embeddings = Table(config.vocab_size, config.hidden_size)
        self.position_embeddings = Table(config.max_positions, config.hidden_size)
        self.token_type_embeddings = Table(config.type_vocab_size, config.hidden_size)
        self.layernorm = nn.LayerNorm((config.hidden_size,), epsilon=1e-5)

    def construct(self, ids):
        """ids int32 [B, T] -> [B, T, H]."""
        positions = self.position_embeddings.embedding_table[: ids.shape[1]]
        return self.layernorm(self.word_embeddings(ids) + positions + self.type(TEXT))

    def type(self, row: int):
        """The embedding [H] of a token type."""
        return self.token_type_embeddings.embedding_table[row]


class _Dense(nn.Cell):
    """A Dense under the name `dense`."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.dense = dense(inputs, outputs)

    def construct(self, x):
        """[..., in] -> [..., out]."""
        return self.dense(x)


class _Stem(nn.Cell):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.patch_to_embedding = _Dense(inputs, outputs)


class SingleStreamVit(nn.Cell):
    """V1's ViT as it was published: no class token, patch k at position k, and one patch of zeros more at the end.

    The ViT was trained with a class token at position 0, so that every patch stands a place too early; the weights that
    follow were trained on that. The patch of zeros is read by the others, and then dropped.
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

    def construct(self, pixels):
        """pixels float32 0..255 [B, 3, S, S] -> [B, patches, W], patches row by row."""
        g, p = self.side, self.patch
        x = ((pixels - self.mean) / self.std).reshape((-1, 3, g, p, g, p)).transpose((0, 2, 4, 1, 3, 5))
        x = x.reshape((-1, g * g, 3 * p * p))
        x = self.stem.patch_to_embedding(ops.concat((x, ops.zeros_like(x[:, :1])), axis=1)) + self.encoder_pos_embedding
        for block in self.encoder.blocks:
            x = block(x, self.no_bias)
        return self.norm(x)[:, :-1]


class PatchEmbedding(nn.Cell):
    """LN(LN(linear(v + mask row 0)) + position + type) of what the ViT gives."""

    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        width = config.hidden_size
        self.img_linear = dense(config.image_width, width)
        self.img_layer_norm = nn.LayerNorm((width,), epsilon=1e-5)
        self.mask_embedding = Table(2, config.image_width)
        self.position_embeddings = Table(config.max_positions, width)
        self.LayerNorm = nn.LayerNorm((width,), epsilon=1e-5)
        self.vit = SingleStreamVit(config)

    def embed(self, tokens, kind):
        """tokens [B, patches, W], the type's embedding [H] -> [B, patches, H]."""
        x = self.img_layer_norm(self.img_linear(tokens + self.mask_embedding.embedding_table[0]))
        return self.LayerNorm(x + self.position_embeddings.embedding_table[: tokens.shape[1]] + kind)


class _Trunk(nn.Cell):
    """The joint blocks, under the name `encoder`."""

    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        self.encoder = Blocks(
            EncoderBlock(config.hidden_size, config.heads, config.intermediate, config.in_out) for _ in range(config.layers)
        )

    def construct(self, x, bias):
        """x [B, T, H], bias [B, 1, 1, T] -> the first token [B, H], all that the head reads."""
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
    """The whole network: what is kept of an image, and the match logit of a pair."""

    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        self.config = config
        self.uniter = _Uniter(config)
        self.rank_output = dense(config.hidden_size, 1)

    def image_tokens(self, inputs):
        """pixels float32 0..255 [B, 3, S, S] or rows of regions [B, R, F + 8] -> what is kept of the images [B, L, W].

        Of pixels that is what the ViT gives, which is narrower than its embedding; of regions the embedding, 0 for padding.
        """
        if not self.config.regions:
            return self.uniter.img_embeddings.vit(inputs)
        x, valid = self.uniter.img_embeddings.embed(inputs, self.uniter.embeddings.type(IMAGE))
        return x * valid

    def match_logits(self, ids, valid, tokens):
        """Pair by pair: ids int32 [B, T], of which `valid` [B, T] are 1, with kept tokens [B, L, W] -> rank logits [B]."""
        images = tokens
        if not self.config.regions:
            images = self.uniter.img_embeddings.embed(tokens, self.uniter.embeddings.type(IMAGE))
        x = ops.concat((self.uniter.embeddings(ids), images), axis=1)
        padding = (1.0 - valid.astype(ms.float32)) * MASKED
        bias = ops.concat((padding.expand_dims(1).expand_dims(1), unread(tokens)), axis=3)
        pooled = ops.tanh(self.uniter.pooler(self.uniter.encoder(x, bias)))
        return self.rank_output(pooled)[:, 0]

    def construct(self, ids, inputs):
        """ids int32 [B, T], 0 for padding, and images -> match logits [B]."""
        return self.match_logits(ids, ids != 0, self.image_tokens(inputs))
