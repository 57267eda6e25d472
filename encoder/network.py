"""OptModel: text stream, image stream, cross-modal encoder and ITM head of Taichu-OPT-v2 (OPT specification, 2.3).

The attribute paths are the parameter names of the published checkpoint, which is why some are spelt as they are.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from encoder.blocks import INIT_STD, DecoderBlock, EncoderBlock, VitBlock, activation, dense
from encoder.config import OptConfig

MASKED = -10000.0


def unit(x):
    """x / sqrt(max(sum x^2, 1e-4)) over the last axis: OPT's own L2 normalisation."""
    return x / ops.sqrt(ops.maximum((x * x).sum(-1, keepdims=True), Tensor(1e-4, ms.float32)))


class _Table(nn.Cell):
    """A lookup table under the name that MindSpore's Embedding publishes."""

    def __init__(self, rows: int, width: int):
        super().__init__()
        self.embedding_table = Parameter(initializer(Normal(INIT_STD), (rows, width), ms.float32))

    def construct(self, ids):
        """int32 [...] -> float32 [..., width]."""
        return ops.gather(self.embedding_table, ids, 0)


class _Blocks(nn.Cell):
    """A stack under the name `blocks`."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.CellList(list(blocks))


class _Layers(nn.Cell):
    """A stack under the name `layers`."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.CellList(list(layers))

    def construct(self, x):
        """[B, T, W] through every layer."""
        for layer in self.layers:
            x = layer(x)
        return x


class _WordTable(nn.Cell):
    """The word embedding, published under the name of the MLM decoder that shares it."""

    def __init__(self, config: OptConfig):
        super().__init__()
        self.weight = Parameter(initializer(Normal(INIT_STD), (config.vocab_size, config.hidden_size), ms.float32))
        if config.published_extras:
            self.bias = Parameter(initializer("zeros", (config.vocab_size,), ms.float32))

    def construct(self, ids):
        """int32 [...] -> float32 [..., H]."""
        return ops.gather(self.weight, ids, 0)


class _MlmTransform(nn.Cell):
    def __init__(self, width: int):
        super().__init__()
        self.dense = dense(width, width)
        self.LayerNorm = nn.LayerNorm((width,), epsilon=1e-5)


class _Predictions(nn.Cell):
    def __init__(self, config: OptConfig):
        super().__init__()
        if config.published_extras:
            self.transform = _MlmTransform(config.hidden_size)
        self.decoder = _WordTable(config)


class _Cls(nn.Cell):
    def __init__(self, config: OptConfig):
        super().__init__()
        self.predictions = _Predictions(config)


class TextStream(nn.Cell):
    """Word + position + type embedding, LayerNorm, pre-LN blocks without a last norm."""

    def __init__(self, config: OptConfig):
        super().__init__()
        self.position_embeddings = _Table(config.max_positions, config.hidden_size)
        self.token_type_embeddings = _Table(config.type_vocab_size, config.hidden_size)
        self.layernorm = nn.LayerNorm((config.hidden_size,), epsilon=1e-5)
        self.encoder = _Blocks(
            EncoderBlock(config.hidden_size, config.text_heads, config.text_intermediate)
            for _ in range(config.text_layers)
        )

    def construct(self, words, bias):
        """words float32 [B, T, H], bias [B, 1, T, T] -> states float32 [B, T, H]."""
        length = words.shape[1]
        x = words + self.position_embeddings.embedding_table[:length] + self.token_type_embeddings.embedding_table[0]
        x = self.layernorm(x)
        for block in self.encoder.blocks:
            x = block(x, bias)
        return x


class _PatchEmbed(nn.Cell):
    """A convolution whose stride is its kernel, computed as one matrix product (MindSpore's own takes 2.6 s on CPU)."""

    def __init__(self, config: OptConfig):
        super().__init__()
        self.width, self.patch, self.grid = config.hidden_size, config.patch_size, config.grid
        shape = (self.width, 3, self.patch, self.patch)
        self.weight = Parameter(initializer(Normal(INIT_STD), shape, ms.float32))
        self.has_bias = config.patch_bias
        if config.patch_bias:
            self.bias = Parameter(initializer("zeros", (self.width,), ms.float32))
        self.product = ops.MatMul(transpose_b=True)

    def construct(self, pixels):
        """[B, 3, S, S] -> [B, grid * grid, W], patches row by row."""
        g, p = self.grid, self.patch
        x = pixels.reshape((-1, 3, g, p, g, p)).transpose((0, 2, 4, 1, 3, 5)).reshape((-1, 3 * p * p))
        x = self.product(x, self.weight.reshape((self.width, -1)))
        if self.has_bias:
            x = x + self.bias
        return x.reshape((-1, g * g, self.width))


class Vit(nn.Cell):
    """The image stream: patches, class token, optional registers, pre-LN layers, last norm on all tokens."""

    def __init__(self, config: OptConfig):
        super().__init__()
        width = config.hidden_size
        self.class_embedding = Parameter(initializer(Normal(INIT_STD), (width,), ms.float32))
        if config.published_extras:
            ids = np.arange(config.vit_tokens, dtype=np.int32)[None]
            self.position_ids = Parameter(Tensor(ids), requires_grad=False)
        self.patch_embed = _PatchEmbed(config)
        self.pos_embed = _Table(1 + config.grid**2, width)
        self.registers = config.registers
        if config.registers:
            self.register_tokens = Parameter(initializer(Normal(INIT_STD), (config.registers, width), ms.float32))
        self.pre_norm = config.image_pre_norm
        if config.image_pre_norm:
            self.pre_layrnorm = nn.LayerNorm((width,), epsilon=config.image_norm_eps)
        self.encoder = _Layers(self._layers(config, config.image_layers))
        self.post_layernorm = nn.LayerNorm((width,), epsilon=config.image_norm_eps)
        self.width = width
        self.mean = Tensor(255 * np.array(config.image_mean, np.float32).reshape(1, 3, 1, 1))
        self.std = Tensor(255 * np.array(config.image_std, np.float32).reshape(1, 3, 1, 1))

    @staticmethod
    def _layers(config: OptConfig, count: int):
        return [
            VitBlock(config.hidden_size, config.image_heads, config.image_intermediate, config.image_activation,
                     config.image_norm_eps)
            for _ in range(count)
        ]

    def construct(self, pixels):
        """pixels float32 0..255 [B, 3, S, S] -> tokens float32 [B, 1 + registers + patches, W]."""
        batch = pixels.shape[0]
        patches = self.patch_embed((pixels - self.mean) / self.std)
        first = ops.broadcast_to(self.class_embedding, (batch, 1, self.width))
        x = ops.concat((first, patches), axis=1) + self.pos_embed.embedding_table
        if self.registers:
            extra = ops.broadcast_to(self.register_tokens, (batch, self.registers, self.width))
            x = ops.concat((x[:, :1], extra, x[:, 1:]), axis=1)
        if self.pre_norm:
            x = self.pre_layrnorm(x)
        return self.post_layernorm(self.encoder(x))


class ImageStream(nn.Cell):
    """The ViT, and what follows it: merging of patch tokens and the adapter's blocks (opt-mini)."""

    def __init__(self, config: OptConfig):
        super().__init__()
        width = config.hidden_size
        if config.published_extras:
            self.img_linear = dense(width, width)
            self.img_layer_norm = nn.LayerNorm((width,), epsilon=1e-5)
            self.mask_embedding = _Table(2, width)
            self.LayerNorm = nn.LayerNorm((width,), epsilon=1e-5)
            self.position_embeddings = _Table(config.max_positions, width)
        self.vit = Vit(config)
        self.merge = config.merge
        self.grid = config.grid
        self.skip = 1 + config.registers
        self.adapted = config.adapter_layers > 0
        if self.adapted:
            self.adapter = _Layers(Vit._layers(config, config.adapter_layers))

    def backbone(self, pixels):
        """pixels [B, 3, S, S] -> merged ViT tokens [B, L, H]: the part that stays frozen while opt-mini trains."""
        x = self.vit(pixels)
        if self.merge > 1:
            batch, width, side, m = x.shape[0], x.shape[2], self.grid // self.merge, self.merge
            patches = x[:, self.skip:].reshape((batch, side, m, side, m, width)).mean((2, 4))
            x = ops.concat((x[:, :1], patches.reshape((batch, side * side, width))), axis=1)
        return x

    def adapt(self, tokens):
        """Merged ViT tokens [B, L, H] -> the image tokens that are stored [B, L, H]."""
        return self.adapter(tokens) if self.adapted else tokens

    def construct(self, pixels):
        """pixels float32 0..255 [B, 3, S, S] -> image tokens float32 [B, L, H]."""
        return self.adapt(self.backbone(pixels))


class _Fusion(nn.Cell):
    """The cross-modal encoder: text is the query stream, image tokens are the memory."""

    def __init__(self, config: OptConfig):
        super().__init__()
        self.decoder = _Blocks(
            DecoderBlock(config.hidden_size, config.text_heads, config.fusion_intermediate)
            for _ in range(config.fusion_layers)
        )
        self.no_bias = Tensor(0.0, ms.float32)

    def construct(self, states, bias, tokens):
        """states [B, T, H], bias [B, 1, T, T], tokens [B, L, H] -> the fused first token [B, H], all that ITM reads."""
        for block in self.decoder.blocks[:-1]:
            states = block(states, bias, tokens, self.no_bias)
        return self.decoder.blocks[-1].first(states, bias, tokens, self.no_bias)[:, 0]


class _Pooler(nn.Cell):
    def __init__(self, width: int):
        super().__init__()
        self.dense = dense(width, width)


class _Uniter(nn.Cell):
    def __init__(self, config: OptConfig):
        super().__init__()
        self.embeddings = TextStream(config)
        self.img_embeddings = ImageStream(config)
        self.encoder = _Fusion(config)
        if config.published_extras:
            self.pooler = _Pooler(config.hidden_size)


class _ClipLoss(nn.Cell):
    def __init__(self):
        super().__init__()
        self.clip_temp = Parameter(Tensor(np.log(1 / 0.07), ms.float32))


class OptModel(nn.Cell):
    """The whole network. Its methods are the pieces that `Encoder` compiles and that training puts together."""

    def __init__(self, config: OptConfig):
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.cls = _Cls(config)
        self.uniter = _Uniter(config)
        if config.published_extras:
            self.itm_output = dense(width, 2)
            self.clip_temp = Parameter(Tensor(0.07, ms.float32))
        self.text_proj = dense(width, config.dim)
        self.vision_proj = dense(width, config.dim)
        self.clip_loss = _ClipLoss()
        self.itm_head_two = nn.SequentialCell(
            dense(width, config.itm_hidden), nn.LayerNorm((config.itm_hidden,), epsilon=1e-5),
            activation("gelu_tanh"), dense(config.itm_hidden, 2),
        )

    @staticmethod
    def text_bias(ids):
        """Additive mask [B, 1, T, T] of token ids int32 [B, T]; 0 is padding and both sides of a pair must be real."""
        valid = (ids != 0).astype(ms.float32)
        pairs = valid.expand_dims(2) * valid.expand_dims(1)
        return ((1.0 - pairs) * MASKED).expand_dims(1)

    def text_states(self, ids):
        """ids int32 [B, T] -> states float32 [B, T, H]."""
        return self.uniter.embeddings(self.cls.predictions.decoder(ids), self.text_bias(ids))

    def text_vectors(self, states):
        """states [B, T, H] -> unit vectors [B, D]."""
        return unit(self.text_proj(states[:, 0]))

    def image_tokens(self, pixels):
        """pixels float32 0..255 [B, 3, S, S] -> tokens [B, L, H]."""
        return self.uniter.img_embeddings(pixels)

    def image_vectors(self, tokens):
        """tokens [B, L, H] -> unit vectors [B, D]."""
        return unit(self.vision_proj(tokens[:, 0]))

    def match_logits(self, states, ids, tokens):
        """Pair by pair: states [B, T, H] of ids [B, T] with tokens [B, L, H] -> both ITM logits [B, 2]; 1 is match."""
        return self.itm_head_two(self.uniter.encoder(states, self.text_bias(ids), tokens))

    def construct(self, ids, pixels):
        """ids int32 [B, T], pixels float32 [B, 3, S, S] -> text vectors, image vectors [B, D], match logits [B, 2]."""
        states = self.text_states(ids)
        tokens = self.image_tokens(pixels)
        return self.text_vectors(states), self.image_vectors(tokens), self.match_logits(states, ids, tokens)
