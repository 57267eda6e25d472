"""TextOutputModel: the captioners of Taichu-OPT-v1 and of the model zoo (OPT specification, captions, 1, 3 and 4).

A trunk reads the image alone, and `txt_output`, an encoder and a decoder, writes of its states. Attribute paths are the
parameter names of the published checkpoints.

What the published network reads nothing of is left out: embeddings of texts and of audio, the pooler, and the mask embedding,
which retrieval adds to V1's patches and captioning does not.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from encoder.captioner_config import TextOutputConfig
from encoder.network.blocks import MASKED, Attention, Blocks, DecoderBlock, EncoderBlock, FeedForward, Table, dense
from encoder.network.captioner import cross_attend_together, project_all, self_attend_cached
from encoder.network.region_stream import RegionEmbedding, padding_bias
from encoder.network.single_stream import IMAGE, SingleStreamVit
from encoder.single_stream_config import SingleStreamConfig


class _Types(nn.Cell):
    """What captioning reads of the embedding of texts: the types of tokens."""

    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        self.token_type_embeddings = Table(config.type_vocab_size, config.hidden_size)


class _PatchEmbedding(nn.Cell):
    """The embedding of the ViT's output v: LN(LN(linear(v)) + position + type)."""

    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        width = config.hidden_size
        self.img_linear = dense(config.image_width, width)
        self.img_layer_norm = nn.LayerNorm((width,), epsilon=1e-5)
        self.position_embeddings = Table(config.max_positions, width)
        self.LayerNorm = nn.LayerNorm((width,), epsilon=1e-5)
        self.vit = SingleStreamVit(config)

    def embed(self, tokens: Tensor, type_embedding: Tensor) -> Tensor:
        """Embed tokens [B, L, W] with the embedding of their type [H] -> [B, L, H]."""
        x = self.img_layer_norm(self.img_linear(tokens))
        return self.LayerNorm(x + self.position_embeddings.embedding_table[: tokens.shape[1]] + type_embedding)


class _Trunk(nn.Cell):
    """The blocks of the trunk, under the parameter name `encoder`."""

    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        self.encoder = Blocks(
            EncoderBlock(config.hidden_size, config.heads, config.intermediate, config.in_out) for _ in range(config.layers)
        )


class _Uniter(nn.Cell):
    def __init__(self, config: SingleStreamConfig):
        super().__init__()
        self.embeddings = _Types(config)
        regions = config.regions > 0
        self.img_embeddings = RegionEmbedding(config.hidden_size, config.region_width) if regions else _PatchEmbedding(config)
        self.encoder = _Trunk(config)


def _encoder_block(config: TextOutputConfig) -> EncoderBlock:
    block = EncoderBlock(config.width, config.heads, config.intermediate, in_out=False)
    block.output.activation = nn.ReLU()
    return block


class _TextDecoderBlock(DecoderBlock):
    """A `DecoderBlock` that stores every matrix as [out, in], with ReLU."""

    def __init__(self, config: TextOutputConfig):
        super().__init__(config.width, config.heads, config.intermediate)
        self.attention = Attention(config.width, config.heads, in_out=False)
        self.cross_attention = Attention(config.width, config.heads, in_out=False)
        self.output = FeedForward(config.width, config.intermediate, in_out=False)
        self.output.activation = nn.ReLU()


class _TextOutput(nn.Cell):
    """The encoder and the decoder. Neither has a last norm."""

    def __init__(self, config: TextOutputConfig):
        super().__init__()
        self.tfm_embedding_lookup = Table(config.vocab_size, config.width)
        self.tfm_encoder = Blocks(_encoder_block(config) for _ in range(config.encoder_layers))
        self.tfm_decoder = Blocks(_TextDecoderBlock(config) for _ in range(config.decoder_layers))
        self.LinearEmbedding = dense(config.trunk.hidden_size, config.width)


def sinusoids(length: int, width: int) -> np.ndarray:
    """The embeddings of positions: sines in the first half and cosines in the second, float32 [length, width]."""
    half = width // 2
    rates = np.exp(-np.arange(half) * (np.log(10000) / (half - 1)))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32)


class TextOutputModel(nn.Cell):
    """A network that writes captions, word by word, of what its trunk has read of an image."""

    def __init__(self, config: TextOutputConfig):
        super().__init__()
        self.config = config
        self.uniter = _Uniter(config.trunk)
        self.txt_output = _TextOutput(config)
        self.positions = Tensor(sinusoids(config.caption_length, config.width))
        self.until = Tensor(np.tril(np.ones((config.caption_length, config.caption_length), np.float32)))
        self.no_bias = Tensor(0.0, ms.float32)
        self.scale = config.width**0.5
        self.product = ops.MatMul(transpose_b=True)

    def image_tokens(self, inputs: Tensor) -> Tensor:
        """Read images: pixels float32 0..255 [B, 3, S, S], or rows of regions [B, R, F + 8] -> states [B, L, W].

        The states of regions that are not there are 0.
        """
        images = self.uniter.img_embeddings
        kind = self.uniter.embeddings.token_type_embeddings.embedding_table[IMAGE]
        if self.config.trunk.regions:
            x, valid = images.embed(inputs, kind)
            bias = ((1.0 - valid) * MASKED).reshape((-1, 1, 1, x.shape[1]))
        else:
            x, valid, bias = images.embed(self._patches(inputs), kind), None, self.no_bias
        for block in self.uniter.encoder.encoder.blocks:
            x = block(x, bias)
        return x if valid is None else x * valid

    def _patches(self, pixels: Tensor) -> Tensor:
        vit = self.uniter.img_embeddings.vit
        return vit.states(pixels) if self.config.last_patch else vit(pixels)

    def memory(self, tokens: Tensor) -> Tensor:
        """Encode an image's states for the decoder.

        Args:
            tokens: what `image_tokens` gave, [B, L, W].

        Returns:
            Keys and values of each decoder layer, [B, 2 * layers, L, width]; 0 for regions that are not there.
        """
        bias = padding_bias(tokens)
        x = self.txt_output.LinearEmbedding(tokens)
        for block in self.txt_output.tfm_encoder.blocks:
            x = block(x, bias)
        valid = (bias == 0).astype(ms.float32).reshape((-1, 1, x.shape[1], 1))
        return project_all(self.txt_output.tfm_decoder.blocks, x) * valid

    def step(self, ids: Tensor, places: Tensor, cache: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Score the next word after one more word, as `CaptionerModel.step` does; its layers are those of the decoder."""
        words = self.txt_output.tfm_embedding_lookup
        length = places.shape[1]
        x = (self.scale * words(ids) + ops.matmul(places, self.positions)).expand_dims(1)
        bias = ((1.0 - ops.matmul(places, self.until)) * MASKED).reshape((-1, 1, 1, length))
        here, padding = places.expand_dims(2), padding_bias(memory[:, 0])
        own = []
        for i, block in enumerate(self.txt_output.tfm_decoder.blocks):
            x, kv = self_attend_cached(block, x, here, bias, cache[:, 2 * i], cache[:, 2 * i + 1])
            x = cross_attend_together(block, x, memory[:, 2 * i], memory[:, 2 * i + 1], padding)
            own += kv
        return ops.log_softmax(self.product(x[:, 0], words.embedding_table), -1), ops.concat(own, 1)
