"""The network of `encoder.network.opt.OptModel` in PyTorch, from the same model folder, for `benchmarks.encoder`.

It is written as usual for CPU: fused query-key-value products, scaled_dot_product_attention, conv2d with channels last. Weights
have their published names; those that are stored as [in, out] are transposed once, on loading.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoder import model_folder
from encoder.config import OptConfig

MASKED = -10000.0
STORED_IN_OUT = ("attention.projection.weight", "output.mapping.weight", "output.projection.weight")
FUSED = {
    ".self_attn.qkv.": (".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj."),
    ".attention.qkv.": (".attention.dense1.", ".attention.dense2.", ".attention.dense3."),
    ".cross_attention.kv.": (".cross_attention.dense2.", ".cross_attention.dense3."),
}
WORDS = "cls.predictions.decoder"
TEXT, IMAGES, FUSION = "uniter.embeddings", "uniter.img_embeddings", "uniter.encoder.decoder"


class TorchOpt(nn.Module):
    """Three calls on tensors: `texts`, `images` and `match`."""

    def __init__(self, config: OptConfig, weights: dict[str, np.ndarray]):
        """Convert the weights, which are arrays by their names in the model folder."""
        super().__init__()
        self.config = config
        tensors = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in weights.items()}
        for name, value in _fused(_transposed(tensors)).items():
            self.register_buffer(_key(name), value)
        self.register_buffer("mean", 255 * torch.tensor(config.image_mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(config.image_std).reshape(1, 3, 1, 1))

    @classmethod
    def from_folder(cls, folder: Path) -> TorchOpt:
        """The network of a model folder, ready to infer."""
        return cls(model_folder.read_config(folder), model_folder.read_weights(folder)).eval()

    def texts(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """int32 [B, T], 0 is padding -> unit vectors [B, D], states [B, T, H]."""
        c = self.config
        x = (
            F.embedding(ids, self.weight(f"{WORDS}.weight"))
            + self.weight(f"{TEXT}.position_embeddings.embedding_table")[: ids.shape[1]]
        )
        x = self.norm(x + self.weight(f"{TEXT}.token_type_embeddings.embedding_table")[0], f"{TEXT}.layernorm")
        bias = _text_bias(ids)
        for i in range(c.text_layers):
            x = self.self_attend(x, f"{TEXT}.encoder.blocks.{i}", bias)
            x = self.feed_forward(x, f"{TEXT}.encoder.blocks.{i}")
        return _unit(self.dense(x[:, 0], "text_proj")), x

    def images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B, S, S, 3] -> unit vectors [B, D], tokens [B, L, H]."""
        c = self.config
        planes = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        x = self.vit(planes)
        if c.merge > 1:
            x = torch.cat((x[:, :1], _merged(x[:, 1 + c.registers :], c.grid, c.merge)), 1)
        if c.grid_stages:
            cells = self.efficientnet(planes)
            features = torch.cat((cells.mean(1, keepdim=True), cells), 1)
            x = x + self.norm(self.dense(features, f"{IMAGES}.img_linear"), f"{IMAGES}.img_layer_norm")
        for i in range(c.adapter_layers):
            x = self.vit_block(x, f"{IMAGES}.adapter.layers.{i}")
        return _unit(self.dense(x[:, 0], "vision_proj")), x

    def match(self, states: Tensor, ids: Tensor, tokens: Tensor) -> Tensor:
        """states [B, T, H] of ids [B, T] with tokens [B, L, H], pair by pair -> match logits [B].

        The last block computes the first token only, as in our network: the others aren't needed.
        """
        x, bias, last = states, _text_bias(ids), self.config.fusion_layers - 1
        for i in range(last + 1):
            name = f"{FUSION}.blocks.{i}"
            x = self.self_attend_first(x, name, bias) if i == last else self.self_attend(x, name, bias)
            x = x + self.cross_attend(self.norm(x, f"{name}.cross_attention_layernorm"), tokens, f"{name}.cross_attention")
            x = self.feed_forward(x, name)
        hidden = self.norm(self.dense(x[:, 0], "itm_head_two.0"), "itm_head_two.1")
        return self.dense(F.gelu(hidden, approximate="tanh"), "itm_head_two.3")[:, 1]

    def vit(self, planes: Tensor) -> Tensor:
        """Normalised pixels [B, 3, S, S] -> tokens after the last norm [B, 1 + registers + patches, W]."""
        c, vit = self.config, f"{IMAGES}.vit"
        patches = F.conv2d(
            planes,
            self.weight(f"{vit}.patch_embed.weight"),
            self.weight(f"{vit}.patch_embed.bias") if c.patch_bias else None,
            stride=c.patch_size,
        )
        first = self.weight(f"{vit}.class_embedding").expand(len(planes), 1, -1)
        x = torch.cat((first, patches.flatten(2).transpose(1, 2)), 1) + self.weight(f"{vit}.pos_embed.embedding_table")
        if c.registers:
            x = torch.cat((x[:, :1], self.weight(f"{vit}.register_tokens").expand(len(planes), -1, -1), x[:, 1:]), 1)
        if c.image_pre_norm:
            x = self.norm(x, f"{vit}.pre_layrnorm", c.image_norm_eps)
        for i in range(c.image_layers):
            x = self.vit_block(x, f"{vit}.encoder.layers.{i}")
        return self.norm(x, f"{vit}.post_layernorm", c.image_norm_eps)

    def vit_block(self, x: Tensor, name: str) -> Tensor:
        """One block of the ViT: [B, T, W] -> [B, T, W]."""
        c = self.config
        normed = self.norm(x, f"{name}.layer_norm1", c.image_norm_eps)
        query, key, value = self.dense(normed, f"{name}.self_attn.qkv").chunk(3, -1)
        x = x + self.dense(_attend(query, key, value, c.image_heads), f"{name}.self_attn.out_proj")
        hidden = self.dense(self.norm(x, f"{name}.layer_norm2", c.image_norm_eps), f"{name}.mlp.fc1")
        return x + self.dense(_activation(hidden, c.image_activation), f"{name}.mlp.fc2")

    def efficientnet(self, planes: Tensor) -> Tensor:
        """Normalised pixels [B, 3, S, S] -> features [B, cells, F]."""
        c, conv = self.config, f"{IMAGES}.conv"
        x = F.silu(
            F.conv2d(
                planes, self.weight(f"{conv}.stem.point.weight"), self.weight(f"{conv}.stem.point.bias"), stride=2, padding=1
            )
        )
        index = 0
        for expand, kernel, stride, _, outputs, repeats in c.grid_stages:
            for i in range(repeats):
                y = self.inverted(x, f"{conv}.blocks.{index}", expand > 1, kernel, stride if i == 0 else 1)
                x = x + y if (stride == 1 or i > 0) and x.shape[1] == outputs else y
                index += 1
        return F.silu(self.pointwise(x, f"{conv}.head")).flatten(2).transpose(1, 2)

    def inverted(self, x: Tensor, name: str, expands: bool, kernel: int, stride: int) -> Tensor:
        """An inverted residual block without its residual: [B, C, h, w] -> [B, outputs, h / stride, w / stride]."""
        y = F.silu(self.pointwise(x, f"{name}.expand")) if expands else x
        y = F.silu(
            F.conv2d(
                y,
                self.weight(f"{name}.depthwise.weight"),
                self.weight(f"{name}.depthwise.bias"),
                stride=stride,
                padding=kernel // 2,
                groups=y.shape[1],
            )
        )
        weighed = F.silu(self.pointwise(y.mean((2, 3), keepdim=True), f"{name}.squeeze.fc1"))
        return self.pointwise(y * torch.sigmoid(self.pointwise(weighed, f"{name}.squeeze.fc2")), f"{name}.project")

    def self_attend(self, x: Tensor, name: str, bias: Tensor) -> Tensor:
        """Add the self-attention of its text to x [B, T, H]."""
        query, key, value = self.dense(self.norm(x, f"{name}.layernorm1"), f"{name}.attention.qkv").chunk(3, -1)
        mixed = _attend(query, key, value, self.config.text_heads, bias)
        return x + self.dense(mixed, f"{name}.attention.projection")

    def self_attend_first(self, x: Tensor, name: str, bias: Tensor) -> Tensor:
        """The first token of what `self_attend` returns, [B, 1, H]."""
        width, normed = x.shape[2], self.norm(x, f"{name}.layernorm1")
        weight, add = self.weight(f"{name}.attention.qkv.weight"), self.weight(f"{name}.attention.qkv.bias")
        query = F.linear(normed[:, :1], weight[:width], add[:width])
        key, value = F.linear(normed, weight[width:], add[width:]).chunk(2, -1)
        mixed = _attend(query, key, value, self.config.text_heads, bias[:, :, :1])
        return x[:, :1] + self.dense(mixed, f"{name}.attention.projection")

    def cross_attend(self, x: Tensor, tokens: Tensor, name: str) -> Tensor:
        """The cross-attention of x [B, t, H] to tokens [B, L, H]."""
        key, value = self.dense(tokens, f"{name}.kv").chunk(2, -1)
        mixed = _attend(self.dense(x, f"{name}.dense1"), key, value, self.config.text_heads)
        return self.dense(mixed, f"{name}.projection")

    def feed_forward(self, x: Tensor, name: str) -> Tensor:
        """Add its feed-forward layer to x [..., H]."""
        hidden = self.dense(self.norm(x, f"{name}.layernorm2"), f"{name}.output.mapping")
        return x + self.dense(F.gelu(hidden, approximate="tanh"), f"{name}.output.projection")

    def dense(self, x: Tensor, name: str) -> Tensor:
        """A linear layer: [..., in] -> [..., out]."""
        return F.linear(x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"))

    def pointwise(self, x: Tensor, name: str) -> Tensor:
        """A 1 x 1 convolution."""
        return F.conv2d(x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"))

    def norm(self, x: Tensor, name: str, eps: float = 1e-5) -> Tensor:
        """Layer norm over the last axis."""
        return F.layer_norm(x, x.shape[-1:], self.weight(f"{name}.gamma"), self.weight(f"{name}.beta"), eps)

    def weight(self, name: str) -> Tensor:
        """A weight by its name."""
        return getattr(self, _key(name))


class Part(nn.Module):
    """One call of a TorchOpt as a module, for export: "texts", "images" or "match"."""

    def __init__(self, opt: TorchOpt, call: str):
        super().__init__()
        self.opt, self.call = opt, call

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the call."""
        return getattr(self.opt, self.call)(*inputs)


def _key(name: str) -> str:
    return name.replace(".", "__")


def _transposed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with every matrix as [out, in] and every convolution as [out, in, k, k]."""
    out = {}
    for name, value in weights.items():
        if name.endswith(STORED_IN_OUT):
            value = value.T
        elif name.startswith(f"{IMAGES}.conv.") and value.ndim == 3:
            value = value[:, None]
        elif name == f"{IMAGES}.conv.stem.point.weight":
            value = value.reshape(-1, 3, 3, 3).permute(0, 3, 1, 2)  # stored row, column, channel
        elif name.startswith(f"{IMAGES}.conv.") and value.ndim == 2:
            value = value[:, :, None, None]
        layout = torch.channels_last if value.ndim == 4 else torch.contiguous_format
        out[name] = value.contiguous(memory_format=layout)
    return out


def _fused(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with projections of the same input side by side: one product instead of two or three."""
    out = dict(weights)
    for fused, parts in FUSED.items():
        for name in weights:
            if parts[0] in name:
                out[name.replace(parts[0], fused)] = torch.cat([out.pop(name.replace(parts[0], part)) for part in parts])
    return out


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Softmax attention of projections [B, t, H], [B, S, H], [B, S, H] -> [B, t, H]."""
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, bias).transpose(1, 2).flatten(2)


def _text_bias(ids: Tensor) -> Tensor:
    """Additive mask [B, 1, T, T]: a token that isn't padding attends to tokens that aren't padding."""
    valid = (ids != 0).float()
    return ((1 - valid[:, :, None] * valid[:, None, :]) * MASKED)[:, None]


def _activation(x: Tensor, name: str) -> Tensor:
    if name == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if name == "gelu_tanh" else "none")


def _merged(patches: Tensor, grid: int, merge: int) -> Tensor:
    """[B, grid * grid, W] -> the mean of each square [B, (grid / merge)^2, W]."""
    side = grid // merge
    return patches.unflatten(1, (side, merge, side, merge)).mean((2, 4)).flatten(1, 2)


def _unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).clamp_min(1e-4).sqrt()
