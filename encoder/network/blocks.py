"""The pre-LN transformer blocks of OPT's text stream, image stream and cross-modal encoder.

Source: OPT specification, 2.0 and 2.3. Attribute paths are the parameter names of the published checkpoints, which have two
layouts: `nn.Dense` keeps its weight as [out, in]; the attention projection and the feed-forward of the text stream and of
the cross-modal encoder keep theirs as [in, out]. The model zoo's OPT has all of them as [out, in] (`in_out=False`).
"""

from __future__ import annotations

from collections.abc import Iterable

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

INIT_STD = 0.02
MASKED = -10000.0


def dense(inputs: int, outputs: int, bias: bool = True) -> nn.Dense:
    """Create a Dense layer with OPT's initial weights: y = x W^T + b, weight [out, in]."""
    return nn.Dense(inputs, outputs, weight_init=Normal(INIT_STD), bias_init="zeros", has_bias=bias)


class TransposedLinear(nn.Cell):
    """y = x W + b, with the weight stored as [in, out], as MindSpore's own transformer layers store it."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = Parameter(initializer(Normal(INIT_STD), (inputs, outputs), ms.float32))
        self.bias = Parameter(initializer("zeros", (outputs,), ms.float32))
        self.inputs = inputs
        self.outputs = outputs
        self.product = ops.MatMul()
        self.add = ops.BiasAdd()

    def turn(self) -> None:
        """Store the weight as [out, in] from now on. For inference only.

        MindSpore 2.10 multiplies faster this way on CPU: 18 ms instead of 38 for 512 x 768 x 3072 on one core.
        """
        self.weight = Parameter(Tensor(self.weight.asnumpy().T.copy()), name=self.weight.name)
        self.product = ops.MatMul(transpose_b=True)

    def construct(self, x: Tensor) -> Tensor:
        """Apply the layer: x [..., in] -> [..., out]."""
        flat = self.add(self.product(x.reshape((-1, self.inputs)), self.weight), self.bias)
        return flat.reshape(x.shape[:-1] + (self.outputs,))


def linear(inputs: int, outputs: int, in_out: bool) -> nn.Cell:
    """Create a linear layer. Its weight is stored as [in, out] if `in_out`, else as [out, in]."""
    return TransposedLinear(inputs, outputs) if in_out else dense(inputs, outputs)


class Table(nn.Cell):
    """An embedding table. Its parameter has the name that MindSpore's Embedding gives it."""

    def __init__(self, rows: int, width: int):
        super().__init__()
        self.embedding_table = Parameter(initializer(Normal(INIT_STD), (rows, width), ms.float32))

    def construct(self, ids: Tensor) -> Tensor:
        """Look up ids: int32 [...] -> float32 [..., width]."""
        return ops.gather(self.embedding_table, ids, 0)


class Blocks(nn.Cell):
    """A list of blocks under the parameter name `blocks`."""

    def __init__(self, blocks: Iterable[nn.Cell]):
        super().__init__()
        self.blocks = nn.CellList(list(blocks))


class QuickGelu(nn.Cell):
    """x * sigmoid(1.702 x), the activation of CLIP's ViT."""

    def construct(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return x * ops.sigmoid(1.702 * x)


class TanhGelu(nn.Cell):
    """The tanh form of GELU, 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as x * sigmoid(2 sqrt(2/pi) (...)).

    MindSpore's own kernel takes four times as long on CPU (115 against 27 ms for 16 x 149 x 1536 numbers).
    """

    def construct(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return x * ops.sigmoid(x * (1.5957691216057308 + 0.07135481627159676 * (x * x)))


def activation(name: str) -> nn.Cell:
    """Create an activation: `gelu_tanh` (OPT's text and cross-modal blocks), `gelu` (erf, DINOv2) or `quick_gelu` (CLIP)."""
    return {"gelu_tanh": TanhGelu(), "gelu": nn.GELU(approximate=False), "quick_gelu": QuickGelu()}[name]


class _Heads(nn.Cell):
    """Multi-head softmax attention over projected queries, keys and values."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.size = width // heads
        self.width = width
        self.scale = self.size**-0.5
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.mix = ops.BatchMatMul()

    def split(self, x: Tensor) -> Tensor:
        """Split the last axis into heads: [B, T, H] -> [B, heads, T, H / heads]."""
        return x.reshape((x.shape[0], x.shape[1], self.heads, self.size)).transpose((0, 2, 1, 3))

    def attention_weights(self, query: Tensor, key: Tensor, bias: Tensor | None = None) -> Tensor:
        """Compute the attention weights: query [B, T, H], key [B, S, H] -> [B, heads, T, S], whose rows add up to 1."""
        scores = self.scores(self.split(query) * self.scale, self.split(key))
        return ops.softmax(scores if bias is None else scores + bias, axis=-1)

    def construct(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend: query [B, T, H], key and value [B, S, H] -> [B, T, H]; bias [B, 1, T or 1, S] is added to the scores."""
        mixed = self.mix(self.attention_weights(query, key, bias), self.split(value))
        return mixed.transpose((0, 2, 1, 3)).reshape(query.shape)


class Attention(nn.Cell):
    """OPT's attention. dense1, dense2 and dense3 project query, key and value.

    Attributes:
        fold: whether `folded` replaces `construct` where several tokens attend. None: the number of products decides.
    """

    def __init__(self, width: int, heads: int, in_out: bool = True):
        super().__init__()
        self.dense1 = dense(width, width)
        self.dense2 = dense(width, width)
        self.dense3 = dense(width, width)
        self.projection = linear(width, width, in_out)
        self.attend = _Heads(width, heads)
        self.fold: bool | None = None

    def construct(self, x: Tensor, memory: Tensor, bias: Tensor) -> Tensor:
        """Let x [B, T, H] attend to memory [B, S, H] -> [B, T, H]; bias is broadcast over [B, heads, T, S]."""
        return self.attend_projected(self.dense1(x), self.dense2(memory), self.dense3(memory), bias)

    def attend_projected(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """Attend with projections that are computed already: query [B, T, H], key and value [B, S, H] -> [B, T, H]."""
        return self.projection(self.attend(query, key, value, bias))

    def is_cheaper_folded(self, x: Tensor, memory: Tensor) -> bool:
        """True if `folded` needs clearly fewer products than `construct` for x [B, t, H] and memory [B, S, H].

        If one graph serves every t, `fold` decides for t > 1: x is then either the first token alone or the whole text.
        """
        if self.fold is not None and x.shape[1] > 1:
            return self.fold
        return self.cost_of_folding(x.shape[1], memory.shape[1]) < 0.75

    def cost_of_folding(self, few: int, many: int) -> float:
        """The number of products of `folded`, divided by that of `construct`, for `few` tokens and a memory of `many`."""
        width = self.attend.width
        return few * (width + self.attend.heads * many) / (many * (width + few))

    def folded(self, x: Tensor, memory: Tensor) -> Tensor:
        """Compute `construct` without a mask, without keys and values: x [B, t, H], memory [B, S, H] -> [B, t, H].

        It pays for a short x and a long memory. With a key W m + b, q . (W m + b) = (W^T q) . m + q . b; the second part is
        the same for the whole memory, so it changes no softmax. And the weighted mean of the values is the value of the
        weighted mean of the memory.
        """
        batch, few, width = x.shape
        heads, size = self.attend.heads, self.attend.size
        query = (self.dense1(x) * self.attend.scale).reshape((batch * few, heads, size)).transpose((1, 0, 2))
        query = self.attend.mix(query, self.dense2.weight.reshape((heads, size, width)))
        query = query.reshape((heads, batch, few, width)).transpose((1, 0, 2, 3)).reshape((batch, heads * few, width))
        weights = ops.softmax(self.attend.scores(query, memory), axis=-1)
        mixed = self.attend.mix(weights, memory).reshape((batch, heads, few, width)).transpose((1, 0, 2, 3))
        mixed = mixed.reshape((heads, batch * few, width))
        value = self.attend.scores(mixed, self.dense3.weight.reshape((heads, size, width)))
        value = value.transpose((1, 0, 2)).reshape((batch, few, width)) + self.dense3.bias
        return self.projection(value)


class FeedForward(nn.Cell):
    """The feed-forward part of a block: `mapping` H -> F, tanh GELU, `projection` F -> H."""

    def __init__(self, width: int, intermediate: int, in_out: bool = True):
        super().__init__()
        self.mapping = linear(width, intermediate, in_out)
        self.projection = linear(intermediate, width, in_out)
        self.activation = activation("gelu_tanh")

    def construct(self, x: Tensor) -> Tensor:
        """Apply the layers: [..., H] -> [..., H]."""
        return self.projection(self.activation(self.mapping(x)))


class EncoderBlock(nn.Cell):
    """A pre-LN encoder block: x + Attn(LN1(x)), then x + FFN(LN2(x))."""

    def __init__(self, width: int, heads: int, intermediate: int, in_out: bool = True):
        super().__init__()
        self.layernorm1 = nn.LayerNorm((width,), epsilon=1e-5)
        self.layernorm2 = nn.LayerNorm((width,), epsilon=1e-5)
        self.attention = Attention(width, heads, in_out)
        self.output = FeedForward(width, intermediate, in_out)

    def construct(self, x: Tensor, bias: Tensor) -> Tensor:
        """Apply the block: x [B, T, H] -> [B, T, H]; bias is broadcast over [B, heads, T, T]."""
        normed = self.layernorm1(x)
        x = x + self.attention(normed, normed, bias)
        return x + self.output(self.layernorm2(x))

    def first(self, x: Tensor, bias: Tensor) -> Tensor:
        """Compute only the first token of `construct`: x [B, T, H], bias [B, 1, 1, T] -> [B, 1, H]."""
        normed = self.layernorm1(x)
        x = x[:, :1] + self.attention(normed[:, :1], normed, bias)
        return x + self.output(self.layernorm2(x))


class DecoderBlock(nn.Cell):
    """A block of the cross-modal encoder: self-attention of the text, cross-attention to the image, feed-forward.

    There is no causal mask.
    """

    def __init__(self, width: int, heads: int, intermediate: int):
        super().__init__()
        self.layernorm1 = nn.LayerNorm((width,), epsilon=1e-5)
        self.layernorm2 = nn.LayerNorm((width,), epsilon=1e-5)
        self.cross_attention_layernorm = nn.LayerNorm((width,), epsilon=1e-5)
        self.attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads)
        self.output = FeedForward(width, intermediate)

    def construct(self, x: Tensor, bias: Tensor, memory: Tensor, memory_bias: Tensor | None = None) -> Tensor:
        """Apply the block: x [B, T, H], memory [B, S, H] -> [B, T, H]; memory_bias [B, 1, 1, S] masks a part of the memory."""
        return self.cross_attend(self.self_attend(x, bias), memory, memory_bias)

    def first(self, x: Tensor, bias: Tensor, memory: Tensor, memory_bias: Tensor | None = None) -> Tensor:
        """Compute only the first token of `construct`: [B, 1, H]."""
        return self.cross_attend(self.self_attend_first(x, bias), memory, memory_bias)

    def self_attend(self, x: Tensor, bias: Tensor) -> Tensor:
        """Apply the self-attention of the text: [B, T, H] -> [B, T, H]."""
        normed = self.layernorm1(x)
        return x + self.attention(normed, normed, bias)

    def self_attend_first(self, x: Tensor, bias: Tensor) -> Tensor:
        """Compute only the first token of `self_attend`: [B, 1, H]."""
        normed = self.layernorm1(x)
        return x[:, :1] + self.attention(normed[:, :1], normed, bias[:, :, :1])

    def project_kv(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Project the image's tokens [B, S, H] to keys and values, both [B, S, H]."""
        return self.cross_attention.dense2(memory), self.cross_attention.dense3(memory)

    def cross_attend(self, x: Tensor, memory: Tensor, memory_bias: Tensor | None = None) -> Tensor:
        """Apply cross-attention and feed-forward to x [B, t, H], in the cheaper of two ways -> [B, t, H]."""
        if memory_bias is None and self.cross_attention.is_cheaper_folded(x, memory):
            x = x + self.cross_attention.folded(self.cross_attention_layernorm(x), memory)
            return x + self.output(self.layernorm2(x))
        return self.cross_attend_projected(x, self.project_kv(memory), memory_bias)

    def attention_weights(self, x: Tensor, bias: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the block, and give the cross-attention's weights too, averaged over heads: [B, T, H] and [B, T, S]."""
        x, kv = self.self_attend(x, bias), self.project_kv(memory)
        query = self.cross_attention.dense1(self.cross_attention_layernorm(x))
        weights = self.cross_attention.attend.attention_weights(query, kv[0])
        return self.cross_attend_projected(x, kv), weights.mean(1)

    def cross_attend_projected(self, x: Tensor, kv: tuple[Tensor, Tensor], memory_bias: Tensor | None = None) -> Tensor:
        """Apply `cross_attend` with the keys and values of `project_kv`: x [B, t, H] -> [B, t, H]."""
        query = self.cross_attention.dense1(self.cross_attention_layernorm(x))
        x = x + self.cross_attention.attend_projected(query, kv[0], kv[1], memory_bias)
        return x + self.output(self.layernorm2(x))


class VitAttention(nn.Cell):
    """Self-attention with the parameter names of CLIP's ViT; all four weights are stored as [out, in]."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.k_proj = dense(width, width)
        self.v_proj = dense(width, width)
        self.q_proj = dense(width, width)
        self.out_proj = dense(width, width)
        self.attend = _Heads(width, heads)

    def construct(self, x: Tensor) -> Tensor:
        """Let every token attend to every token: [B, T, W] -> [B, T, W]."""
        return self.out_proj(self.attend(self.q_proj(x), self.k_proj(x), self.v_proj(x)))


class VitMlp(nn.Cell):
    """The feed-forward part of a ViT block: fc1, activation, fc2."""

    def __init__(self, width: int, intermediate: int, act: str):
        super().__init__()
        self.fc1 = dense(width, intermediate)
        self.fc2 = dense(intermediate, width)
        self.activation = activation(act)

    def construct(self, x: Tensor) -> Tensor:
        """Apply the layers: [..., W] -> [..., W]."""
        return self.fc2(self.activation(self.fc1(x)))


class VitBlock(nn.Cell):
    """A pre-LN block of the image stream."""

    def __init__(self, width: int, heads: int, intermediate: int, act: str, eps: float):
        super().__init__()
        self.self_attn = VitAttention(width, heads)
        self.layer_norm1 = nn.LayerNorm((width,), epsilon=eps)
        self.mlp = VitMlp(width, intermediate, act)
        self.layer_norm2 = nn.LayerNorm((width,), epsilon=eps)

    def construct(self, x: Tensor) -> Tensor:
        """Apply the block: [B, T, W] -> [B, T, W]."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))
