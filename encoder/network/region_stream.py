"""The image stream of an OPT that reads a detector's regions instead of pixels (OPT specification, 2.1 and 4.1)."""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from encoder.config import OptConfig
from encoder.inputs.regions import GEOMETRY
from encoder.network.blocks import INIT_STD, MASKED, Blocks, EncoderBlock, dense


def padding_bias(tokens: Tensor) -> Tensor:
    """Make the additive mask [B, 1, 1, L] of tokens [B, L, H]. A token of zeros is padding: it is not attended to."""
    padding = (ops.abs(tokens).max(-1) == 0).astype(ms.float32)
    return (padding * MASKED).expand_dims(1).expand_dims(1)


class RegionEmbedding(nn.Cell):
    """LN(LN(linear(features)) + LN(linear(geometry)) + type), with the parameter names of the model zoo's OPT."""

    def __init__(self, width: int, region_width: int):
        super().__init__()
        self.img_linear = dense(region_width, width)
        self.img_layer_norm = nn.LayerNorm((width,), epsilon=1e-5)
        self.pos_linear = dense(GEOMETRY, width)
        self.pos_layer_norm = nn.LayerNorm((width,), epsilon=1e-5)
        self.LayerNorm = nn.LayerNorm((width,), epsilon=1e-5)
        self.region_width = region_width

    def embed(self, rows: Tensor, type_embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Embed regions.

        Args:
            rows: float32 [B, R, F + 8], as `regions.rows_of` makes them.
            type_embedding: of the token type, float32 [H].

        Returns:
            Embeddings [B, R, H], and 1 or 0 for what is a region or padding [B, R, 1].
        """
        at = self.region_width
        features, geometry, valid = rows[:, :, :at], rows[:, :, at : at + GEOMETRY], rows[:, :, at + GEOMETRY :]
        x = self.img_layer_norm(self.img_linear(features)) + self.pos_layer_norm(self.pos_linear(geometry)) + type_embedding
        return self.LayerNorm(x), valid


class RegionStream(RegionEmbedding):
    """Embedded regions behind a class token, through pre-LN blocks and a last norm. Padding is masked and stays zero."""

    def __init__(self, config: OptConfig):
        super().__init__(config.hidden_size, config.region_width)
        width = config.hidden_size
        self.class_embedding = Parameter(initializer(Normal(INIT_STD), (width,), ms.float32))
        self.encoder = Blocks(
            EncoderBlock(width, config.image_heads, config.image_intermediate) for _ in range(config.image_layers)
        )
        self.post_layernorm = nn.LayerNorm((width,), epsilon=config.image_norm_eps)
        self.width = width

    def construct(self, rows: Tensor, type_embedding: Tensor) -> Tensor:
        """Encode regions: rows [B, R, F + 8], type_embedding [H] -> tokens [B, 1 + R, H], the class token first."""
        x, valid = self.embed(rows, type_embedding)
        first = ops.broadcast_to(self.class_embedding, (rows.shape[0], 1, self.width))
        x = ops.concat((first, x), axis=1)
        valid = ops.concat((ops.ones_like(valid[:, :1]), valid), axis=1)
        bias = ((1.0 - valid) * MASKED).reshape((-1, 1, 1, x.shape[1]))
        for block in self.encoder.blocks:
            x = block(x, bias)
        return self.post_layernorm(x) * valid
