"""EfficientNet-B3, the convolutional backbone of opt-mini's image stream (Tan and Le 2019), with batch norms folded in.

OPT's first form reads the features of a convolutional detector (OPT specification, 2.1); these come on a grid instead.

Maps are laid out [C, B, h, w], so that a pointwise convolution is one matrix product. A depthwise convolution is a product
with banded matrices: MindSpore 2.10's own kernel takes 1 s where this takes 30 ms (144 channels, 16 x 98 x 98, CPU).
"""

from __future__ import annotations

from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

INIT_STD = 0.02


@dataclass(frozen=True)
class Stage:
    """A stage of `repeats` inverted residual blocks. The first block has the stride and the change of width."""

    expand: int
    kernel: int
    stride: int
    inputs: int
    outputs: int
    repeats: int


def swish(x: Tensor) -> Tensor:
    """Compute x * sigmoid(x)."""
    return x * ops.sigmoid(x)


def half_size(size: int) -> int:
    """Compute the side of a map after stride 2, padded by half the kernel."""
    return (size + 1) // 2


add_bias = ops.BiasAdd()


def add_channel_bias(x: Tensor, bias: Tensor) -> Tensor:
    """Add `bias` [C] to the rows of x [C, n].

    `x + bias` is slower: MindSpore 2.10's own broadcast keeps 16 bytes for each number on CPU, and takes four times as long.
    """
    return add_bias(x.reshape((1, x.shape[0], -1)), bias).reshape(x.shape)


class _Pointwise(nn.Cell):
    """A 1 x 1 convolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = Parameter(initializer(Normal(INIT_STD), (outputs, inputs), ms.float32))
        self.bias = Parameter(initializer("zeros", (outputs,), ms.float32))

    def construct(self, x: Tensor) -> Tensor:
        """Apply the convolution: [C, n] -> [outputs, n]."""
        return add_channel_bias(ops.matmul(self.weight, x), self.bias)


class _Depthwise(nn.Cell):
    """A depthwise k x k convolution, padded by k // 2: the rows of each channel times a banded matrix."""

    def __init__(self, width: int, kernel: int, stride: int, size: int):
        super().__init__()
        self.weight = Parameter(initializer(Normal(INIT_STD), (width, kernel, kernel), ms.float32))
        self.bias = Parameter(initializer("zeros", (width,), ms.float32))
        self.width, self.kernel, self.stride, self.size = width, kernel, stride, size
        self.out = size if stride == 1 else half_size(size)
        self.bands = Tensor(_bands(kernel, stride, size, self.out))
        self.rows = Tensor(np.add.outer(np.arange(self.out) * stride, np.arange(kernel)).astype(np.int32).reshape(-1))
        self.product = ops.BatchMatMul()

    def construct(self, x: Tensor) -> Tensor:
        """Apply the convolution: [C, B, size, size] -> [C, B, out, out]."""
        c, k, half, out = self.width, self.kernel, self.kernel // 2, self.out
        batch = x.shape[1]
        edge = ops.zeros((c, batch, half, self.size), ms.float32)
        x = ops.concat((edge, x, edge), 2)
        x = ops.gather(x, self.rows, 2).reshape((c, batch * out, k * self.size))
        bands = ops.matmul(self.weight.reshape((c * k, k)), self.bands).reshape((c, k * self.size, out))
        return add_channel_bias(self.product(x, bands).reshape((c, -1)), self.bias).reshape((c, batch, out, out))


def _bands(kernel: int, stride: int, size: int, out: int) -> np.ndarray:
    """Make, for each column of a kernel, the matrix [size, out] that shifts a row by it: float32 [kernel, size * out]."""
    bands = np.zeros((kernel, size, out), np.float32)
    for t in range(kernel):
        for column in range(out):
            source = column * stride + t - kernel // 2
            if 0 <= source < size:
                bands[t, source, column] = 1
    return bands.reshape(kernel, size * out)


class _Stem(nn.Cell):
    """The first convolution, 3 x 3 with stride 2: nine shifted copies of the image, then one product.

    Even and odd columns are separated first, so that a copy takes whole rows: to take every other number of a row would cost
    ten times as much (MindSpore 2.10, CPU).
    """

    def __init__(self, outputs: int, size: int):
        super().__init__()
        self.point = _Pointwise(27, outputs)
        self.odd, self.out = size % 2 == 1, half_size(size)

    def construct(self, pixels: Tensor) -> Tensor:
        """Apply the convolution: [B, 3, S, S] -> [C, B, S / 2, S / 2]; inputs of the weight go by row, column, channel."""
        batch, out = pixels.shape[0], self.out
        size = 2 * out
        if self.odd:
            pixels = ops.pad(pixels, (0, 1, 0, 1))
        x = pixels.reshape((batch, 3, size, out, 2)).transpose((4, 1, 0, 2, 3)).reshape((6, batch, size, out))
        even, odd = x[:3], x[3:]
        before = ops.concat((ops.zeros((3, batch, size, 1), ms.float32), odd[:, :, :, : out - 1]), 3)
        x = ops.concat((before, even, odd), 0)
        x = ops.concat((ops.zeros((9, batch, 1, out), ms.float32), x), 2)
        x = ops.concat([x[:, :, row : row + size - 1 : 2] for row in range(3)], 0)
        return self.point(x.reshape((27, -1))).reshape((-1, batch, out, out))


class _Squeeze(nn.Cell):
    """Squeeze and excitation: each channel is scaled by a function of the means of all channels."""

    def __init__(self, width: int, inner: int, size: int):
        super().__init__()
        self.fc1 = _Pointwise(width, inner)
        self.fc2 = _Pointwise(inner, width)
        self.mean = Tensor(np.full((size * size, 1), 1.0 / size**2, np.float32))
        self.ones = Tensor(np.ones((1, size * size), np.float32))

    def construct(self, x: Tensor) -> Tensor:
        """Scale the channels: [C, B, h, w] -> [C, B, h, w]."""
        width, batch = x.shape[:2]
        pooled = ops.matmul(x.reshape((width * batch, -1)), self.mean).reshape((width, batch))
        weights = ops.sigmoid(self.fc2(swish(self.fc1(pooled))))
        return x * ops.matmul(weights.reshape((-1, 1)), self.ones).reshape(x.shape)  # no broadcast: see `add_channel_bias`


class _Block(nn.Cell):
    """An inverted residual block: expand, depthwise convolution, squeeze and excitation, project."""

    def __init__(self, stage: Stage, first: bool, size: int):
        super().__init__()
        inputs = stage.inputs if first else stage.outputs
        inner, stride = inputs * stage.expand, stage.stride if first else 1
        self.expands, self.residual = stage.expand > 1, stride == 1 and inputs == stage.outputs
        if self.expands:
            self.expand = _Pointwise(inputs, inner)
        self.depthwise = _Depthwise(inner, stage.kernel, stride, size)
        self.squeeze = _Squeeze(inner, max(1, inputs // 4), self.depthwise.out)
        self.project = _Pointwise(inner, stage.outputs)

    def construct(self, x: Tensor) -> Tensor:
        """Apply the block: [inputs, B, h, w] -> [outputs, B, h / stride, w / stride]."""
        batch, out = x.shape[1], self.depthwise.out
        y = x
        if self.expands:
            y = swish(self.expand(x.reshape((x.shape[0], -1)))).reshape((-1, batch, x.shape[2], x.shape[3]))
        y = self.squeeze(swish(self.depthwise(y)))
        y = self.project(y.reshape((y.shape[0], -1))).reshape((-1, batch, out, out))
        return x + y if self.residual else y


class EfficientNet(nn.Cell):
    """The network without its classifier: a vector of `features` for each cell (32 x 32 pixels in EfficientNet-B3)."""

    def __init__(self, size: int, stages: tuple[Stage, ...], features: int):
        super().__init__()
        self.stem = _Stem(stages[0].inputs, size)
        size = half_size(size)
        blocks = []
        for stage in stages:
            for i in range(stage.repeats):
                blocks.append(_Block(stage, i == 0, size))
                size = blocks[-1].depthwise.out
        self.blocks = nn.CellList(blocks)
        self.head = _Pointwise(stages[-1].outputs, features)
        self.grid = size

    def construct(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels, float32 [B, 3, S, S] -> features [B, grid * grid, F], cells row by row."""
        batch = pixels.shape[0]
        x = swish(self.stem(pixels))
        for block in self.blocks:
            x = block(x)
        x = swish(self.head(x.reshape((x.shape[0], -1))))
        return x.reshape((x.shape[0], batch, -1)).transpose((1, 2, 0))
