"""OptModel: text stream, image stream, cross-modal encoder and ITM head of Taichu-OPT-v2 (OPT specification, 2.3).

Attribute paths are the parameter names of the published checkpoint, misspellings included.
"""

from __future__ import annotations

from collections.abc import Iterable

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from encoder.config import OptConfig
from encoder.network.blocks import INIT_STD, MASKED, Blocks, DecoderBlock, EncoderBlock, Table, VitBlock, activation, dense
from encoder.network.convolutions import EfficientNet, Stage
from encoder.network.region_stream import RegionStream, padding_bias


def l2_normalize(x: Tensor) -> Tensor:
    """Normalise the last axis as OPT does: x / sqrt(max(sum x^2, 1e-4))."""
    return x / ops.sqrt(ops.maximum((x * x).sum(-1, keepdims=True), Tensor(1e-4, ms.float32)))


class _Layers(nn.Cell):
    """A sequence of layers under the parameter name `layers`."""

    def __init__(self, layers: Iterable[nn.Cell]):
        super().__init__()
        self.layers = nn.CellList(list(layers))

    def construct(self, x: Tensor) -> Tensor:
        """Apply every layer: [B, T, W] -> [B, T, W]."""
        for layer in self.layers:
            x = layer(x)
        return x


class _WordTable(nn.Cell):
    """The word embedding, which has the parameter name of the MLM decoder that shares it."""

    def __init__(self, config: OptConfig):
        super().__init__()
        self.weight = Parameter(initializer(Normal(INIT_STD), (config.vocab_size, config.hidden_size), ms.float32))
        if config.published_extras:
            self.bias = Parameter(initializer("zeros", (config.vocab_size,), ms.float32))

    def construct(self, ids: Tensor) -> Tensor:
        """Look up ids: int32 [...] -> float32 [..., H]."""
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
    """The text stream: word + position + type embedding, LayerNorm, pre-LN blocks without a last norm."""

    def __init__(self, config: OptConfig):
        super().__init__()
        self.position_embeddings = Table(config.max_positions, config.hidden_size)
        self.token_type_embeddings = Table(config.type_vocab_size, config.hidden_size)
        self.layernorm = nn.LayerNorm((config.hidden_size,), epsilon=1e-5)
        self.encoder = Blocks(
            EncoderBlock(config.hidden_size, config.text_heads, config.text_intermediate) for _ in range(config.text_layers)
        )

    def construct(self, words: Tensor, bias: Tensor) -> Tensor:
        """Encode embedded words: words float32 [B, T, H], bias [B, 1, T, T] -> states float32 [B, T, H]."""
        length = words.shape[1]
        x = words + self.position_embeddings.embedding_table[:length] + self.token_type_embeddings.embedding_table[0]
        x = self.layernorm(x)
        for block in self.encoder.blocks:
            x = block(x, bias)
        return x


class _PatchEmbed(nn.Cell):
    """A convolution whose stride is its kernel, as one matrix product: MindSpore's own takes 2.6 s on CPU."""

    def __init__(self, config: OptConfig):
        super().__init__()
        self.width, self.patch, self.grid = config.hidden_size, config.patch_size, config.grid
        shape = (self.width, 3, self.patch, self.patch)
        self.weight = Parameter(initializer(Normal(INIT_STD), shape, ms.float32))
        self.has_bias = config.patch_bias
        if config.patch_bias:
            self.bias = Parameter(initializer("zeros", (self.width,), ms.float32))
        self.product = ops.MatMul(transpose_b=True)

    def construct(self, pixels: Tensor) -> Tensor:
        """Embed patches, row by row: [B, 3, S, S] -> [B, grid * grid, W]."""
        g, p = self.grid, self.patch
        x = pixels.reshape((-1, 3, g, p, g, p)).transpose((0, 2, 4, 1, 3, 5)).reshape((-1, 3 * p * p))
        x = self.product(x, self.weight.reshape((self.width, -1)))
        if self.has_bias:
            x = x + self.bias
        return x.reshape((-1, g * g, self.width))


class Vit(nn.Cell):
    """A vision transformer: patches, class token, optional registers, pre-LN layers, last norm on all tokens."""

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
    def _layers(config: OptConfig, count: int) -> list[VitBlock]:
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

    def normalised(self, pixels: Tensor) -> Tensor:
        """Subtract each channel's mean from pixels 0..255, and divide by its standard deviation."""
        return (pixels - self.mean) / self.std

    def embed(self, pixels: Tensor) -> Tensor:
        """Make the first layer's input: pixels float32 0..255 [B, 3, S, S] -> [B, 1 + registers + patches, W]."""
        batch = pixels.shape[0]
        patches = self.patch_embed(self.normalised(pixels))
        first = ops.broadcast_to(self.class_embedding, (batch, 1, self.width))
        x = ops.concat((first, patches), axis=1) + self.pos_embed.embedding_table
        if self.registers:
            extra = ops.broadcast_to(self.register_tokens, (batch, self.registers, self.width))
            x = ops.concat((x[:, :1], extra, x[:, 1:]), axis=1)
        return self.pre_layrnorm(x) if self.pre_norm else x

    def construct(self, pixels: Tensor) -> Tensor:
        """Encode images: pixels float32 0..255 [B, 3, S, S] -> tokens float32 [B, 1 + registers + patches, W]."""
        return self.post_layernorm(self.encoder(self.embed(pixels)))


class ImageStream(nn.Cell):
    """The image stream: a ViT and, in opt-mini, merged patches, a convolutional backbone and an adapter.

    The patches of a ViT are averaged in squares of merge x merge. The convolutional backbone has one feature vector for each
    such square. The adapter is a few ViT layers over the sum of the two.
    """

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

    def trunk(self, pixels: Tensor, layers: int) -> Tensor:
        """Run the ViT's first `layers`: pixels [B, 3, S, S] -> [B, T, W], patches ordered by the squares they merge into."""
        x = self.vit.embed(pixels)
        for layer in self.vit.encoder.layers[:layers]:
            x = layer(x)
        batch, width, side, m = x.shape[0], x.shape[2], self.grid // self.merge, self.merge
        squares = x[:, self.skip :].reshape((batch, side, m, side, m, width)).transpose((0, 1, 3, 2, 4, 5))
        return ops.concat((x[:, : self.skip], squares.reshape((batch, -1, width))), axis=1)

    def tail(self, x: Tensor, layers: int) -> Tensor:
        """Run the ViT's other layers and its last norm, and merge patches: `trunk`'s output [B, T, W] -> [B, L, W].

        The class token comes first, then the mean of each square's patches. Whole squares may be missing from x.
        """
        for layer in self.vit.encoder.layers[layers:]:
            x = layer(x)
        x = self.vit.post_layernorm(x)
        if self.merge == 1:
            return x
        squares = x[:, self.skip :].reshape((x.shape[0], -1, self.merge**2, x.shape[2])).mean(2)
        return ops.concat((x[:, :1], squares), axis=1)

    def grid_features(self, pixels: Tensor) -> Tensor:
        """Run the convolutional backbone: pixels [B, 3, S, S] -> features [B, 1 + cells, F], their mean first."""
        cells = self.conv(self.vit.normalised(pixels))
        return ops.concat((cells.mean(1, keep_dims=True), cells), axis=1)

    def add_grid_features(self, tokens: Tensor, features: Tensor) -> Tensor:
        """Add the features [B, L, F] of the same cells, embedded as OPT embeds regions, to tokens [B, L, H] -> [B, L, H]."""
        return tokens + self.img_layer_norm(self.img_linear(features))

    def adapt(self, tokens: Tensor) -> Tensor:
        """Run the adapter: merged tokens [B, L, H] -> the image tokens that are stored [B, L, H]."""
        return self.adapter(tokens) if self.adapted else tokens

    def construct(self, pixels: Tensor) -> Tensor:
        """Encode images: pixels float32 0..255 [B, 3, S, S] -> image tokens float32 [B, L, H]."""
        tokens = self.tail(self.trunk(pixels, 0), 0)
        if self.has_grid:
            tokens = self.add_grid_features(tokens, self.grid_features(pixels))
        return self.adapt(tokens)


class _CrossModalEncoder(nn.Cell):
    """The cross-modal encoder (fusion): the text attends to the image's tokens."""

    def __init__(self, config: OptConfig):
        super().__init__()
        self.decoder = Blocks(
            DecoderBlock(config.hidden_size, config.text_heads, config.fusion_intermediate) for _ in range(config.fusion_layers)
        )

    def construct(self, states: Tensor, bias: Tensor, tokens: Tensor, tokens_bias: Tensor | None = None) -> Tensor:
        """Compute the fused first token, all that the ITM head reads.

        Args:
            states: of the texts, [B, T, H].
            bias: the mask of the texts, [B, 1, T, T].
            tokens: of the images, [B, L, H].
            tokens_bias: the mask of the images' tokens, [B, 1, 1, L].

        Returns:
            float32 [B, H].
        """
        for block in self.decoder.blocks[:-1]:
            states = block(states, bias, tokens, tokens_bias)
        return self.decoder.blocks[-1].first(states, bias, tokens, tokens_bias)[:, 0]

    def attention_weights(self, states: Tensor, bias: Tensor, tokens: Tensor) -> Tensor:
        """Compute the cross-attention weights of every layer, averaged over heads: [B, layers, T, L]."""
        layers = ()
        for block in self.decoder.blocks:
            states, weights = block.attention_weights(states, bias, tokens)
            layers = (*layers, weights.expand_dims(1))
        return ops.concat(layers, 1)

    def all_pairs(self, states: Tensor, bias: Tensor, tokens: Tensor, size: int) -> Tensor:
        """Pair each text of a group with each image of the same group. What depends on one side alone is computed once.

        Args:
            states: of the texts, [G * size, T, H].
            bias: the mask of the texts, [G * size, 1, T, T].
            tokens: of the images, [G * size, L, H].
            size: the number of texts, and of images, in a group.

        Returns:
            The fused first tokens, float32 [G * size * size, H]; the pairs of one text are next to each other.
        """
        x = states
        for i, block in enumerate(self.decoder.blocks):
            x = block.self_attend_first(x, bias) if i == len(self.decoder.blocks) - 1 else block.self_attend(x, bias)
            if i == 0:
                x, bias = x.repeat_interleave(size, 0), bias.repeat_interleave(size, 0)
            keys, values = block.project_kv(tokens)
            x = block.cross_attend_projected(x, (_for_each_text(keys, size), _for_each_text(values, size)))
        return x[:, 0]


def _for_each_text(x: Tensor, size: int) -> Tensor:
    """Repeat the images of a group for each of its texts: [G * size, L, H] -> [G * size * size, L, H]."""
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
        self.encoder = _CrossModalEncoder(config)
        if config.published_extras:
            self.pooler = _Pooler(config.hidden_size)


class _ClipLoss(nn.Cell):
    def __init__(self):
        super().__init__()
        self.clip_temp = Parameter(Tensor(np.log(1 / 0.07), ms.float32))


class OptModel(nn.Cell):
    """The whole network. Its methods are the parts that `entries` and the training objectives put together."""

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
    def text_bias(ids: Tensor) -> Tensor:
        """Make the additive mask [B, 1, T, T] of ids int32 [B, T]. Id 0 is padding: it neither attends nor is attended to."""
        valid = (ids != 0).astype(ms.float32)
        pairs = valid.expand_dims(2) * valid.expand_dims(1)
        return ((1.0 - pairs) * MASKED).expand_dims(1)

    def text_states(self, ids: Tensor) -> Tensor:
        """Encode texts: ids int32 [B, T] -> states float32 [B, T, H]."""
        return self.uniter.embeddings(self.cls.predictions.decoder(ids), self.text_bias(ids))

    def text_vectors(self, states: Tensor) -> Tensor:
        """Project the first token of texts: states [B, T, H] -> unit vectors [B, D]."""
        return l2_normalize(self.text_proj(states[:, 0]))

    def image_tokens(self, pixels: Tensor) -> Tensor:
        """Encode images: pixels float32 0..255 [B, 3, S, S], or rows of regions [B, R, F + 8] -> tokens [B, L, H]."""
        if self.config.regions:
            return self.uniter.img_embeddings(pixels, self.uniter.embeddings.token_type_embeddings.embedding_table[1])
        return self.uniter.img_embeddings(pixels)

    def image_vectors(self, tokens: Tensor) -> Tensor:
        """Project the first token of images: tokens [B, L, H] -> unit vectors [B, D]."""
        return l2_normalize(self.vision_proj(tokens[:, 0]))

    def match_logits(self, states: Tensor, ids: Tensor, tokens: Tensor) -> Tensor:
        """Score pairs: states [B, T, H] of ids int32 [B, T], tokens [B, L, H] -> ITM logits [B, 2], of which 1 means match."""
        tokens_bias = padding_bias(tokens) if self.config.regions else None
        return self.itm_head_two(self.uniter.encoder(states, self.text_bias(ids), tokens, tokens_bias))

    def match_attention(self, states: Tensor, ids: Tensor, tokens: Tensor) -> Tensor:
        """Compute cross-attention weights of pairs: states [B, T, H], ids [B, T], tokens [B, L, H] -> [B, layers, T, L]."""
        return self.uniter.encoder.attention_weights(states, self.text_bias(ids), tokens)

    def group_logits(self, states: Tensor, ids: Tensor, tokens: Tensor, size: int) -> Tensor:
        """Score all pairs of each group: states [G * size, T, H], tokens [G * size, L, H] -> ITM logits [G * size, size, 2]."""
        fused = self.uniter.encoder.all_pairs(states, self.text_bias(ids), tokens, size)
        return self.itm_head_two(fused).reshape((-1, size, 2))

    def construct(self, ids: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score pairs: ids int32 [B, T], pixels float32 [B, 3, S, S] -> text and image vectors [B, D], ITM logits [B, 2]."""
        states = self.text_states(ids)
        tokens = self.image_tokens(pixels)
        return self.text_vectors(states), self.image_vectors(tokens), self.match_logits(states, ids, tokens)
