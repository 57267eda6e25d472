"""`convolutions.EfficientNet` with ordinary convolutions, for export to ONNX: other runtimes have fast kernels for them."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from encoder.network.convolutions import EfficientNet, swish


def _convolution(outputs: int, kernel: int = 1, stride: int = 1, pad: int = 0, group: int = 1) -> ops.Conv2D:
    """Create a convolution. MindSpore 2.10 exports it only if its arguments are tuples."""
    return ops.Conv2D(
        outputs, (kernel, kernel), pad_mode="pad", pad=(pad,) * 4, stride=(stride, stride), dilation=(1, 1), group=group
    )


class _Pointwise(nn.Cell):
    def __init__(self, banded: nn.Cell):
        super().__init__()
        self.banded = banded
        self.outputs = banded.weight.shape[0]
        self.convolve, self.add = _convolution(self.outputs), ops.BiasAdd()

    def construct(self, x: Tensor) -> Tensor:
        """Apply the convolution: [B, C, h, w] -> [B, outputs, h, w]."""
        return self.add(self.convolve(x, self.banded.weight.reshape((self.outputs, -1, 1, 1))), self.banded.bias)


class _Depthwise(nn.Cell):
    def __init__(self, banded: nn.Cell):
        super().__init__()
        self.banded = banded
        self.shape = (banded.width, 1, banded.kernel, banded.kernel)
        self.convolve = _convolution(banded.width, banded.kernel, banded.stride, banded.kernel // 2, banded.width)
        self.add = ops.BiasAdd()

    def construct(self, x: Tensor) -> Tensor:
        """Apply the convolution: [B, C, size, size] -> [B, C, out, out]."""
        return self.add(self.convolve(x, self.banded.weight.reshape(self.shape)), self.banded.bias)


class _Stem(nn.Cell):
    def __init__(self, banded: nn.Cell):
        super().__init__()
        self.point = banded.point
        self.convolve, self.add = _convolution(banded.point.weight.shape[0], 3, 2, 1), ops.BiasAdd()

    def construct(self, x: Tensor) -> Tensor:
        """Apply the convolution: [B, 3, S, S] -> [B, C, S / 2, S / 2]."""
        weight = self.point.weight.reshape((-1, 3, 3, 3)).transpose((0, 3, 1, 2))
        return self.add(self.convolve(x, weight), self.point.bias)


class _Block(nn.Cell):
    def __init__(self, banded: nn.Cell):
        super().__init__()
        self.expands, self.residual = banded.expands, banded.residual
        if banded.expands:
            self.expand = _Pointwise(banded.expand)
        self.depthwise, self.project = _Depthwise(banded.depthwise), _Pointwise(banded.project)
        self.fc1, self.fc2 = _Pointwise(banded.squeeze.fc1), _Pointwise(banded.squeeze.fc2)
        self.mean = ops.ReduceMean(keep_dims=True)

    def construct(self, x: Tensor) -> Tensor:
        """Apply the block: [B, inputs, h, w] -> [B, outputs, h / stride, w / stride]."""
        y = swish(self.expand(x)) if self.expands else x
        y = swish(self.depthwise(y))
        y = y * ops.sigmoid(self.fc2(swish(self.fc1(self.mean(y, (2, 3))))))
        y = self.project(y)
        return x + y if self.residual else y


class NativeEfficientNet(nn.Cell):
    """Computes what `banded` computes, with the parameters of `banded`."""

    def __init__(self, banded: EfficientNet):
        super().__init__()
        self.stem = _Stem(banded.stem)
        self.blocks = nn.CellList([_Block(block) for block in banded.blocks])
        self.head = _Pointwise(banded.head)
        self.width, self.cell_count = banded.head.weight.shape[0], banded.grid**2

    def construct(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels, float32 [B, 3, S, S] -> features [B, grid * grid, F], cells row by row."""
        x = swish(self.stem(pixels))
        for block in self.blocks:
            x = block(x)
        return swish(self.head(x)).reshape((-1, self.width, self.cell_count)).transpose((0, 2, 1))
