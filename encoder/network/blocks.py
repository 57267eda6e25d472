"""The pre-LN transformer blocks that all three parts of OPT are made of (OPT specification, sections 2.0 and 2.3).

Parameter names follow the published checkpoints. Two layouts live side by side there: `nn.Dense` keeps its weight as
[out, in]; the attention projection and the feed-forward of the text stream and of the fusion keep theirs as [in, out],
but for the model zoo's OPT, which has all of them as [out, in] (`in_out=False`).
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

INIT_STD = 0.02
MASKED = -10000.0


def dense(inputs: int, outputs: int, bias: bool = True) -> nn.Dense:
    """A Dense layer with OPT's initial weights: weight [out, in], y = x W^T + b."""
    return nn.Dense(inputs, outputs, weight_init=Normal(INIT_STD), bias_init="zeros", has_bias=bias)


class TransposedLinear(nn.Cell):
    """y = x W + b with the weight stored as [in, out], as MindSpore's own transformer layers publish it."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = Parameter(initializer(Normal(INIT_STD), (inputs, outputs), ms.float32))
        self.bias = Parameter(initializer("zeros", (outputs,), ms.float32))
        self.inputs = inputs
        self.outputs = outputs
        self.product = ops.MatMul()
        self.add = ops.BiasAdd()

    def turn(self) -> None:
        """Keep the weight as [out, in] from now on, for inference: MindSpore 2.10's product on CPU takes up to half the time.

        512 x 768 x 3072 on one core: 18 ms instead of 38.
        """
        self.weight = Parameter(Tensor(self.weight.asnumpy().T.copy()), name=self.weight.name)
        self.product = ops.MatMul(transpose_b=True)

    def construct(self, x):
        """x [..., in] -> [..., out]."""
        flat = self.add(self.product(x.reshape((-1, self.inputs)), self.weight), self.bias)
        return flat.reshape(x.shape[:-1] + (self.outputs,))


def linear(inputs: int, outputs: int, in_out: bool) -> nn.Cell:
    """y = x W + b where the weight is stored as [in, out], y = x W^T + b where it isn't."""
    return TransposedLinear(inputs, outputs) if in_out else dense(inputs, outputs)


class Table(nn.Cell):
    """A lookup table under the name that MindSpore's Embedding publishes."""

    def __init__(self, rows: int, width: int):
        super().__init__()
        self.embedding_table = Parameter(initializer(Normal(INIT_STD), (rows, width), ms.float32))

    def construct(self, ids):
        """int32 [...] -> float32 [..., width]."""
        return ops.gather(self.embedding_table, ids, 0)


class Blocks(nn.Cell):
    """A stack under the name `blocks`."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.CellList(list(blocks))


class QuickGelu(nn.Cell):
    """x * sigmoid(1.702 x), the activation of CLIP's ViT."""

    def construct(self, x):
        """Element by element."""
        return x * ops.sigmoid(1.702 * x)


class TanhGelu(nn.Cell):
    """The tanh form of GELU, 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), which is x * sigmoid(2 sqrt(2/pi) (...)).

    MindSpore's own kernel takes four times as long on CPU (115 against 27 ms for 16 x 149 x 1536 numbers).
    """

    def construct(self, x):
        """Element by element."""
        return x * ops.sigmoid(x * (1.5957691216057308 + 0.07135481627159676 * (x * x)))


def activation(name: str) -> nn.Cell:
    """`gelu_tanh` (text and fusion of OPT), `gelu` (erf, DINOv2) or `quick_gelu` (CLIP)."""
    return {"gelu_tanh": TanhGelu(), "gelu": nn.GELU(approximate=False), "quick_gelu": QuickGelu()}[name]


class _Heads(nn.Cell):
    """Softmax attention over heads; queries, keys and values are already projected."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.size = width // heads
        self.width = width
        self.scale = self.size**-0.5
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.mix = ops.BatchMatMul()

    def split(self, x):
        """[B, T, H] -> [B, heads, T, H / heads]."""
        return x.reshape((x.shape[0], x.shape[1], self.heads, self.size)).transpose((0, 2, 1, 3))

    def weigh(self, query, key, bias=None):
        """How much of each key every query takes: query [B, T, H], key [B, S, H] -> [B, heads, T, S], rows adding up to 1."""
        scores = self.scores(self.split(query) * self.scale, self.split(key))
        return ops.softmax(scores if bias is None else scores + bias, axis=-1)

    def construct(self, query, key, value, bias=None):
        """query [B, T, H], key and value [B, S, H], bias [B, 1, T or 1, S] added to the scores -> [B, T, H]."""
        mixed = self.mix(self.weigh(query, key, bias), self.split(value))
        return mixed.transpose((0, 2, 1, 3)).reshape(query.shape)


class Attention(nn.Cell):
    """OPT's attention: dense1, dense2, dense3 are query, key, value; `projection` is stored [in, out], or as `in_out` says."""

    def __init__(self, width: int, heads: int, in_out: bool = True):
        super().__init__()
        self.dense1 = dense(width, width)
        self.dense2 = dense(width, width)
        self.dense3 = dense(width, width)
        self.projection = linear(width, width, in_out)
        self.attend = _Heads(width, heads)
        self.fold = None

    def construct(self, x, memory, bias):
        """x [B, T, H] reads memory [B, S, H]; bias is broadcast over [B, heads, T, S]."""
        return self.read(self.dense1(x), self.dense2(memory), self.dense3(memory), bias)

    def read(self, query, key, value, bias):
        """What `construct` does with projections that are made already, all [B, .., H]."""
        return self.projection(self.attend(query, key, value, bias))

    def is_cheaper_folded(self, x, memory):
        """Whether `folded` needs clearly fewer products than `construct` for x [B, t, H] and memory [B, S, H].

        `fold` says it beforehand where one graph is for every t: x is the first token alone, or the whole text.
        """
        if self.fold is not None and x.shape[1] > 1:
            return self.fold
        return self.cost_of_folding(x.shape[1], memory.shape[1]) < 0.75

    def cost_of_folding(self, few: int, many: int) -> float:
        """The products of `folded` for `few` tokens and a memory of `many`, as a share of those of `construct`."""
        width = self.attend.width
        return few * (width + self.attend.heads * many) / (many * (width + few))

    def folded(self, x, memory):
        """What `construct` gives where nothing is masked, for few x [B, t, H] and a long memory [B, S, H].

        Keys and values are never made: with W m + b as a key, q . (W m + b) = (W^T q) . m + q . b, of which the second part is
        the same for all of the memory and so changes no softmax; and the mean of values is the value of the mean.
        """
        batch, few, width = x.shape
        heads, size = self.attend.heads, self.attend.size
        query = (self.dense1(x) * self.attend.scale).reshape((batch * few, heads, size)).transpose((1, 0, 2))
        asked = self.attend.mix(query, self.dense2.weight.reshape((heads, size, width)))
        asked = asked.reshape((heads, batch, few, width)).transpose((1, 0, 2, 3)).reshape((batch, heads * few, width))
        weights = ops.softmax(self.attend.scores(asked, memory), axis=-1)
        mixed = self.attend.mix(weights, memory).reshape((batch, heads, few, width)).transpose((1, 0, 2, 3))
        mixed = mixed.reshape((heads, batch * few, width))
        value = self.attend.scores(mixed, self.dense3.weight.reshape((heads, size, width)))
        value = value.transpose((1, 0, 2)).reshape((batch, few, width)) + self.dense3.bias
        return self.projection(value)


class FeedForward(nn.Cell):
    """mapping H -> F, tanh GELU, projection F -> H, both stored [in, out], or as `in_out` says."""

    def __init__(self, width: int, intermediate: int, in_out: bool = True):
        super().__init__()
        self.mapping = linear(width, intermediate, in_out)
        self.projection = linear(intermediate, width, in_out)
        self.activation = activation("gelu_tanh")

    def construct(self, x):
        """[..., H] -> [..., H]."""
        return self.projection(self.activation(self.mapping(x)))


class EncoderBlock(nn.Cell):
    """x + Attn(LN1(x)), then x + FFN(LN2(x))."""

    def __init__(self, width: int, heads: int, intermediate: int, in_out: bool = True):
        super().__init__()
        self.layernorm1 = nn.LayerNorm((width,), epsilon=1e-5)
        self.layernorm2 = nn.LayerNorm((width,), epsilon=1e-5)
        self.attention = Attention(width, heads, in_out)
        self.output = FeedForward(width, intermediate, in_out)

    def construct(self, x, bias):
        """x [B, T, H], bias broadcast over [B, heads, T, T] -> [B, T, H]."""
        normed = self.layernorm1(x)
        x = x + self.attention(normed, normed, bias)
        return x + self.output(self.layernorm2(x))

    def first(self, x, bias):
        """The first token of what `construct` gives, [B, 1, H]; bias [B, 1, 1, T], the same for every token that reads."""
        normed = self.layernorm1(x)
        x = x[:, :1] + self.attention(normed[:, :1], normed, bias)
        return x + self.output(self.layernorm2(x))


class DecoderBlock(nn.Cell):
    """Self-attention of the text, cross-attention to the image's tokens, feed-forward; no causal mask."""

    def __init__(self, width: int, heads: int, intermediate: int):
        super().__init__()
        self.layernorm1 = nn.LayerNorm((width,), epsilon=1e-5)
        self.layernorm2 = nn.LayerNorm((width,), epsilon=1e-5)
        self.cross_attention_layernorm = nn.LayerNorm((width,), epsilon=1e-5)
        self.attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads)
        self.output = FeedForward(width, intermediate)

    def construct(self, x, bias, memory, memory_bias=None):
        """x [B, T, H], memory [B, S, H], memory_bias [B, 1, 1, S] where not all of it is to be read -> [B, T, H]."""
        return self.gather(self.hear(x, bias), memory, memory_bias)

    def first(self, x, bias, memory, memory_bias=None):
        """The first token of what `construct` gives, [B, 1, H], at a fraction of its cost."""
        return self.gather(self.hear_first(x, bias), memory, memory_bias)

    def hear(self, x, bias):
        """The self-attention of the text: [B, T, H] -> [B, T, H]."""
        normed = self.layernorm1(x)
        return x + self.attention(normed, normed, bias)

    def hear_first(self, x, bias):
        """The first token of what `hear` gives, [B, 1, H]."""
        normed = self.layernorm1(x)
        return x[:, :1] + self.attention(normed[:, :1], normed, bias[:, :, :1])

    def remember(self, memory):
        """Keys and values of the image's tokens [B, S, H], for `read`: two times [B, S, H]."""
        return self.cross_attention.dense2(memory), self.cross_attention.dense3(memory)

    def gather(self, x, memory, memory_bias=None):
        """Cross-attention and feed-forward, token by token of x [B, t, H], in whichever way is cheaper."""
        if memory_bias is None and self.cross_attention.is_cheaper_folded(x, memory):
            x = x + self.cross_attention.folded(self.cross_attention_layernorm(x), memory)
            return x + self.output(self.layernorm2(x))
        return self.read(x, self.remember(memory), memory_bias)

    def look(self, x, bias, memory):
        """What `construct` gives, and where each text token looked, the mean over heads: [B, T, H] and [B, T, S]."""
        x, remembered = self.hear(x, bias), self.remember(memory)
        query = self.cross_attention.dense1(self.cross_attention_layernorm(x))
        weights = self.cross_attention.attend.weigh(query, remembered[0])
        return self.read(x, remembered), weights.mean(1)

    def read(self, x, remembered, memory_bias=None):
        """What `gather` does with keys and values that are made already."""
        query = self.cross_attention.dense1(self.cross_attention_layernorm(x))
        x = x + self.cross_attention.read(query, remembered[0], remembered[1], memory_bias)
        return x + self.output(self.layernorm2(x))


class VitAttention(nn.Cell):
    """Attention under the names of CLIP's ViT; all four weights are stored [out, in]."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.k_proj = dense(width, width)
        self.v_proj = dense(width, width)
        self.q_proj = dense(width, width)
        self.out_proj = dense(width, width)
        self.attend = _Heads(width, heads)

    def construct(self, x):
        """[B, T, W] -> [B, T, W]; every token reads every token."""
        return self.out_proj(self.attend(self.q_proj(x), self.k_proj(x), self.v_proj(x)))


class VitMlp(nn.Cell):
    """fc1, activation, fc2."""

    def __init__(self, width: int, intermediate: int, act: str):
        super().__init__()
        self.fc1 = dense(width, intermediate)
        self.fc2 = dense(intermediate, width)
        self.activation = activation(act)

    def construct(self, x):
        """[..., W] -> [..., W]."""
        return self.fc2(self.activation(self.fc1(x)))


class VitBlock(nn.Cell):
    """A pre-LN block of the image stream."""

    def __init__(self, width: int, heads: int, intermediate: int, act: str, eps: float):
        super().__init__()
        self.self_attn = VitAttention(width, heads)
        self.layer_norm1 = nn.LayerNorm((width,), epsilon=eps)
        self.mlp = VitMlp(width, intermediate, act)
        self.layer_norm2 = nn.LayerNorm((width,), epsilon=eps)

    def construct(self, x):
        """[B, T, W] -> [B, T, W]."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))
