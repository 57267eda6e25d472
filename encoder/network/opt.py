"""OptModel: text stream, image stream, cross-modal encoder and ITM head of Taichu-OPT-v2 (OPT specification, 2.3).

The attribute paths are the parameter names of the published checkpoint, which is why some are spelt as they are.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from encoder.config import OptConfig
from encoder.network.blocks import INIT_STD, MASKED, Blocks, DecoderBlock, EncoderBlock, Table, VitBlock, activation, dense
from encoder.network.convolutions import EfficientNet, Stage
from encoder.network.region_stream import RegionStream, unread


def unit(x):
    """x / sqrt(max(sum x^2, 1e-4)) over the last axis: OPT's own L2 normalisation."""
    return x / ops.sqrt(ops.maximum((x * x).sum(-1, keepdims=True), Tensor(1e-4, ms.float32)))


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
        self.position_embeddings = Table(config.max_positions, config.hidden_size)
        self.token_type_embeddings = Table(config.type_vocab_size, config.hidden_size)
        self.layernorm = nn.LayerNorm((config.hidden_size,), epsilon=1e-5)
        self.encoder = Blocks(
            EncoderBlock(config.hidden_size, config.text_heads, config.text_intermediate) for _ in range(config.text_layers)
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
        self.pos_embed = Table(1 + config.grid**2, width)
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
            VitBlock(
                config.hidden_size,
                config.image_heads,
                config.image_intermediate,
                config.image_activation,
                config.image_norm_eps,
            )
            for _ in range(count)
        ]

    def normalised(self, pixels):
        """Each channel of pixels 0..255 less its mean, over its deviation."""
        return (pixels - self.mean) / self.std

    def embed(self, pixels):
        """pixels float32 0..255 [B, 3, S, S] -> what the first layer reads, [B, 1 + registers + patches, W]."""
        batch = pixels.shape[0]
        patches = self.patch_embed(self.normalised(pixels))
        first = ops.broadcast_to(self.class_embedding, (batch, 1, self.width))
        x = ops.concat((first, patches), axis=1) + self.pos_embed.embedding_table
        if self.registers:
            extra = ops.broadcast_to(self.register_tokens, (batch, self.registers, self.width))
            x = ops.concat((x[:, :1], extra, x[:, 1:]), axis=1)
        return self.pre_layrnorm(x) if self.pre_norm else x

    def construct(self, pixels):
        """pixels float32 0..255 [B, 3, S, S] -> tokens float32 [B, 1 + registers + patches, W]."""
        return self.post_layernorm(self.encoder(self.embed(pixels)))


class ImageStream(nn.Cell):
    """The ViT, and what opt-mini adds: merged patch tokens, a second eye on the same grid, the adapter's blocks."""

    def __init__(self, config: OptConfig):
        super().__init__()
        width = config.hidden_size
        if config.published_extras:
            self.img_linear = dense(width, width)
            self.mask_embedding = Table(2, width)
            self.LayerNorm = nn.LayerNorm((width,), epsilon=1e-5)
            self.position_embeddings = Table(config.max_positions, width)
        if config.published_extras or config.grid_stages:
            self.img_layer_norm = nn.LayerNorm((width,), epsilon=1e-5)
        self.vit = Vit(config)
        self.has_grid = len(config.grid_stages) > 0
        if self.has_grid:
            self.conv = EfficientNet(config.image_size, tuple(Stage(*s) for s in config.grid_stages), config.grid_features)
            self.img_linear = dense(config.grid_features, width)
        self.merge = config.merge
        self.grid = config.grid
        self.skip = 1 + config.registers
        self.adapted = config.adapter_layers > 0
        if self.adapted:
            self.adapter = _Layers(Vit._layers(config, config.adapter_layers))

    def trunk(self, pixels, layers: int):
        """What the ViT's first `layers` make of pixels [B, 3, S, S]: [B, T, W], patches in order of their squares."""
        x = self.vit.embed(pixels)
        for layer in self.vit.encoder.layers[:layers]:
            x = layer(x)
        batch, width, side, m = x.shape[0], x.shape[2], self.grid // self.merge, self.merge
        squares = x[:, self.skip :].reshape((batch, side, m, side, m, width)).transpose((0, 1, 3, 2, 4, 5))
        return ops.concat((x[:, : self.skip], squares.reshape((batch, -1, width))), axis=1)

    def tail(self, x, layers: int):
        """The ViT's other layers and its last norm over what `trunk` gave, whole squares left out or not -> [B, L, W].

        The class token first, then the mean of each square's patches.
        """
        for layer in self.vit.encoder.layers[layers:]:
            x = layer(x)
        x = self.vit.post_layernorm(x)
        if self.merge == 1:
            return x
        squares = x[:, self.skip :].reshape((x.shape[0], -1, self.merge**2, x.shape[2])).mean(2)
        return ops.concat((x[:, :1], squares), axis=1)

    def grid_features(self, pixels):
        """The second eye: pixels [B, 3, S, S] -> features [B, 1 + cells, F], their mean first."""
        cells = self.conv(self.vit.normalised(pixels))
        return ops.concat((cells.mean(1, keep_dims=True), cells), axis=1)

    def join(self, tokens, features):
        """Tokens [B, L, H] with the features [B, L, F] of the same places added, embedded as OPT embeds regions."""
        return tokens + self.img_layer_norm(self.img_linear(features))

    def adapt(self, tokens):
        """What the adapter makes of merged tokens [B, L, H]: the image tokens that are stored [B, L, H]."""
        return self.adapter(tokens) if self.adapted else tokens

    def construct(self, pixels):
        """pixels float32 0..255 [B, 3, S, S] -> image tokens float32 [B, L, H]."""
        tokens = self.tail(self.trunk(pixels, 0), 0)
        if self.has_grid:
            tokens = self.join(tokens, self.grid_features(pixels))
        return self.adapt(tokens)


class _Fusion(nn.Cell):
    """The cross-modal encoder: text is the query stream, image tokens are the memory."""

    def __init__(self, config: OptConfig):
        super().__init__()
        self.decoder = Blocks(
            DecoderBlock(config.hidden_size, config.text_heads, config.fusion_intermediate) for _ in range(config.fusion_layers)
        )

    def construct(self, states, bias, tokens, tokens_bias=None):
        """states [B, T, H], bias [B, 1, T, T], tokens [B, L, H] -> the fused first token [B, H], all that ITM reads.

        `tokens_bias` [B, 1, 1, L] keeps it from reading some of the tokens.
        """
        for block in self.decoder.blocks[:-1]:
            states = block(states, bias, tokens, tokens_bias)
        return self.decoder.blocks[-1].first(states, bias, tokens, tokens_bias)[:, 0]

    def attention(self, states, bias, tokens):
        """Where each text token looks in every layer, the mean over heads: [B, layers, T, L]."""
        layers = ()
        for block in self.decoder.blocks:
            states, weights = block.look(states, bias, tokens)
            layers = (*layers, weights.expand_dims(1))
        return ops.concat(layers, 1)

    def crossed(self, states, bias, tokens, size: int):
        """Each text of a group with each image of it: states [G * size, T, H], tokens [G * size, L, H].

        Gives the fused first tokens [G * size * size, H], a text's pairs side by side. What depends on one side alone
        is computed once.
        """
        x = states
        for i, block in enumerate(self.decoder.blocks):
            x = block.hear_first(x, bias) if i == len(self.decoder.blocks) - 1 else block.hear(x, bias)
            if i == 0:
                x, bias = x.repeat_interleave(size, 0), bias.repeat_interleave(size, 0)
            keys, values = block.remember(tokens)
            x = block.read(x, (_for_each_text(keys, size), _for_each_text(values, size)))
        return x[:, 0]


def _for_each_text(x, size: int):
    """[G * size, L, H] -> [G * size * size, L, H]: the images of a group once for each of its texts."""
    length, width = x.shape[1:]
    x = x.reshape((-1, 1, size, length, width))
    return ops.broadcast_to(x, (x.shape[0], size, size, length, width)).reshape((-1, length, width))


class _Pooler(nn.Cell):
    def __init__(self, width: int):
        super().__init__()
        self.dense = dense(width, width)


class _Uniter(nn.Cell):
    def __init__(self, config: OptConfig):
        super().__init__()
        self.embeddings = TextStream(config)
        self.img_embeddings = RegionStream(config) if config.regions else ImageStream(config)
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
            dense(width, config.itm_hidden),
            nn.LayerNorm((config.itm_hidden,), epsilon=1e-5),
            activation("gelu_tanh"),
            dense(config.itm_hidden, 2),
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
        """pixels float32 0..255 [B, 3, S, S], or where it takes regions rows [B, R, F + 8] -> tokens [B, L, H]."""
        if self.config.regions:
            return self.uniter.img_embeddings(pixels, self.uniter.embeddings.token_type_embeddings.embedding_table[1])
        return self.uniter.img_embeddings(pixels)

    def image_vectors(self, tokens):
        """tokens [B, L, H] -> unit vectors [B, D]."""
        return unit(self.vision_proj(tokens[:, 0]))

    def match_logits(self, states, ids, tokens):
        """Pair by pair: states [B, T, H] of ids [B, T] with tokens [B, L, H] -> both ITM logits [B, 2]; 1 is match."""
        tokens_bias = unread(tokens) if self.config.regions else None
        return self.itm_head_two(self.uniter.encoder(states, self.text_bias(ids), tokens, tokens_bias))

    def match_attention(self, states, ids, tokens):
        """Where the fusion looks: states [B, T, H] of ids [B, T] with tokens [B, L, H] -> [B, layers, T, L]."""
        return self.uniter.encoder.attention(states, self.text_bias(ids), tokens)

    def crossed_logits(self, states, ids, tokens, size: int):
        """Group by group: states [G * size, T, H], tokens [G * size, L, H] -> ITM logits [G * size, size, 2]."""
        fused = self.uniter.encoder.crossed(states, self.text_bias(ids), tokens, size)
        return self.itm_head_two(fused).reshape((-1, size, 2))

    def construct(self, ids, pixels):
        """ids int32 [B, T], pixels float32 [B, 3, S, S] -> text vectors, image vectors [B, D], match logits [B, 2]."""
        states = self.text_states(ids)
        tokens = self.image_tokens(pixels)
        return self.text_vectors(states), self.image_vectors(tokens), self.match_logits(states, ids, tokens)
