"""The network of `encoder.network.opt.OptModel` in PyTorch, from the same model folder, for `benchmarks.encoder`.

Written as PyTorch is usually written for CPU: fused query-key-value products, scaled_dot_product_attention, conv2d with
channels last. Weights go by their published names, and those that are stored [in, out] are turned once, on loading.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from encoder import model_folder
from encoder.config import OptConfig

MASKED = -10000.0
STORED_IN_OUT = ("attention.projection.weight", "output.mapping.weight", "output.projection.weight")
PACKS = {
    ".self_attn.qkv.": (".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj."),
    ".attention.qkv.": (".attention.dense1.", ".attention.dense2.", ".attention.dense3."),
    ".cross_attention.kv.": (".cross_attention.dense2.", ".cross_attention.dense3."),
}
WORDS = "cls.predictions.decoder"
TEXT, IMAGES, FUSION = "uniter.embeddings", "uniter.img_embeddings", "uniter.encoder.decoder"


class TorchOpt(nn.Module):
    """Three calls on tensors: `texts`, `images`, `match`. `weights` are arrays by their names in the model folder."""

    def __init__(self, config: OptConfig, weights: dict[str, np.ndarray]):
        super().__init__()
        self.config = config
        tensors = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in weights.items()}
        for name, value in _packed(_turned(tensors)).items():
            self.register_buffer(_key(name), value)
        self.register_buffer("mean", 255 * torch.tensor(config.image_mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(config.image_std).reshape(1, 3, 1, 1))

    @classmethod
    def from_folder(cls, folder: Path) -> TorchOpt:
        """The network of a model folder, ready to infer."""
        return cls(model_folder.read_config(folder), model_folder.read_weights(folder)).eval()

    def texts(self, ids):
        """int32 [B, T], 0 is padding -> unit vectors [B, D], states [B, T, H]."""
        c = self.config
        x = (
            F.embedding(ids, self.of(f"{WORDS}.weight"))
            + self.of(f"{TEXT}.position_embeddings.embedding_table")[: ids.shape[1]]
        )
        x = self.norm(x + self.of(f"{TEXT}.token_type_embeddings.embedding_table")[0], f"{TEXT}.layernorm")
        bias = _text_bias(ids)
        for i in range(c.text_layers):
            x = self.hear(x, f"{TEXT}.encoder.blocks.{i}", bias)
            x = self.feed_forward(x, f"{TEXT}.encoder.blocks.{i}")
        return _unit(self.dense(x[:, 0], "text_proj")), x

    def images(self, pixels):
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

    def match(self, states, ids, tokens):
        """states [B, T, H] of ids [B, T] with tokens [B, L, H], pair by pair -> match logits [B].

        The last block is computed for the first token only, as ours is: nothing reads the others.
        """
        x, bias, last = states, _text_bias(ids), self.config.fusion_layers - 1
        for i in range(last + 1):
            name = f"{FUSION}.blocks.{i}"
            x = self.hear_first(x, name, bias) if i == last else self.hear(x, name, bias)
            x = x + self.cross(self.norm(x, f"{name}.cross_attention_layernorm"), tokens, f"{name}.cross_attention")
            x = self.feed_forward(x, name)
        hidden = self.norm(self.dense(x[:, 0], "itm_head_two.0"), "itm_head_two.1")
        return self.dense(F.gelu(hidden, approximate="tanh"), "itm_head_two.3")[:, 1]

    def vit(self, planes):
        """Normalised pixels [B, 3, S, S] -> tokens after the last norm [B, 1 + registers + patches, W]."""
        c, vit = self.config, f"{IMAGES}.vit"
        patches = F.conv2d(
            planes,
            self.of(f"{vit}.patch_embed.weight"),
            self.of(f"{vit}.patch_embed.bias") if c.patch_bias else None,
            stride=c.patch_size,
        )
        first = self.of(f"{vit}.class_embedding").expand(len(planes), 1, -1)
        x = torch.cat((first, patches.flatten(2).transpose(1, 2)), 1) + self.of(f"{vit}.pos_embed.embedding_table")
        if c.registers:
            x = torch.cat((x[:, :1], self.of(f"{vit}.register_tokens").expand(len(planes), -1, -1), x[:, 1:]), 1)
        if c.image_pre_norm:
            x = self.norm(x, f"{vit}.pre_layrnorm", c.image_norm_eps)
        for i in range(c.image_layers):
            x = self.vit_block(x, f"{vit}.encoder.layers.{i}")
        return self.norm(x, f"{vit}.post_layernorm", c.image_norm_eps)

    def vit_block(self, x, name: str):
        """[B, T, W] -> [B, T, W]."""
        c = self.config
        normed = self.norm(x, f"{name}.layer_norm1", c.image_norm_eps)
        query, key, value = self.dense(normed, f"{name}.self_attn.qkv").chunk(3, -1)
        x = x + self.dense(_attend(query, key, value, c.image_heads), f"{name}.self_attn.out_proj")
        hidden = self.dense(self.norm(x, f"{name}.layer_norm2", c.image_norm_eps), f"{name}.mlp.fc1")
        return x + self.dense(_activation(hidden, c.image_activation), f"{name}.mlp.fc2")

    def efficientnet(self, planes):
        """Normalised pixels [B, 3, S, S] -> features [B, cells, F]."""
        c, conv = self.config, f"{IMAGES}.conv"
        x = F.silu(
            F.conv2d(planes, self.of(f"{conv}.stem.point.weight"), self.of(f"{conv}.stem.point.bias"), stride=2, padding=1)
        )
        index = 0
        for expand, kernel, stride, _, outputs, repeats in c.grid_stages:
            for i in range(repeats):
                y = self.inverted(x, f"{conv}.blocks.{index}", expand > 1, kernel, stride if i == 0 else 1)
                x = x + y if (stride == 1 or i > 0) and x.shape[1] == outputs else y
                index += 1
        return F.silu(self.point(x, f"{conv}.head")).flatten(2).transpose(1, 2)

    def inverted(self, x, name: str, expands: bool, kernel: int, stride: int):
        """An inverted residual block without its residual: [B, C, h, w] -> [B, outputs, h / stride, w / stride]."""
        y = F.silu(self.point(x, f"{name}.expand")) if expands else x
        y = F.silu(
            F.conv2d(
                y,
                self.of(f"{name}.depthwise.weight"),
                self.of(f"{name}.depthwise.bias"),
                stride=stride,
                padding=kernel // 2,
                groups=y.shape[1],
            )
        )
        weighed = F.silu(self.point(y.mean((2, 3), keepdim=True), f"{name}.squeeze.fc1"))
        return self.point(y * torch.sigmoid(self.point(weighed, f"{name}.squeeze.fc2")), f"{name}.project")

    def hear(self, x, name: str, bias):
        """x [B, T, H] with the self-attention of its text added."""
        query, key, value = self.dense(self.norm(x, f"{name}.layernorm1"), f"{name}.attention.qkv").chunk(3, -1)
        mixed = _attend(query, key, value, self.config.text_heads, bias)
        return x + self.dense(mixed, f"{name}.attention.projection")

    def hear_first(self, x, name: str, bias):
        """The first token of what `hear` gives, [B, 1, H]."""
        width, normed = x.shape[2], self.norm(x, f"{name}.layernorm1")
        weight, add = self.of(f"{name}.attention.qkv.weight"), self.of(f"{name}.attention.qkv.bias")
        query = F.linear(normed[:, :1], weight[:width], add[:width])
        key, value = F.linear(normed, weight[width:], add[width:]).chunk(2, -1)
        mixed = _attend(query, key, value, self.config.text_heads, bias[:, :, :1])
        return x[:, :1] + self.dense(mixed, f"{name}.attention.projection")

    def cross(self, x, tokens, name: str):
        """x [B, t, H] reads tokens [B, L, H]."""
        key, value = self.dense(tokens, f"{name}.kv").chunk(2, -1)
        mixed = _attend(self.dense(x, f"{name}.dense1"), key, value, self.config.text_heads)
        return self.dense(mixed, f"{name}.projection")

    def feed_forward(self, x, name: str):
        """x [..., H] with its feed-forward added."""
        hidden = self.dense(self.norm(x, f"{name}.layernorm2"), f"{name}.output.mapping")
        return x + self.dense(F.gelu(hidden, approximate="tanh"), f"{name}.output.projection")

    def dense(self, x, name: str):
        """[..., in] -> [..., out]."""
        return F.linear(x, self.of(f"{name}.weight"), self.of(f"{name}.bias"))

    def point(self, x, name: str):
        """A 1 x 1 convolution."""
        return F.conv2d(x, self.of(f"{name}.weight"), self.of(f"{name}.bias"))

    def norm(self, x, name: str, eps: float = 1e-5):
        """Layer norm over the last axis."""
        return F.layer_norm(x, x.shape[-1:], self.of(f"{name}.gamma"), self.of(f"{name}.beta"), eps)

    def of(self, name: str):
        """A weight by its name."""
        return getattr(self, _key(name))


class Part(nn.Module):
    """One call of a TorchOpt as a module, for export: "texts", "images" or "match"."""

    def __init__(self, opt: TorchOpt, call: str):
        super().__init__()
        self.opt, self.call = opt, call

    def forward(self, *inputs):
        """What the call gives."""
        return getattr(self.opt, self.call)(*inputs)


def _key(name: str) -> str:
    return name.replace(".", "__")


def _turned(weights):
    """Every matrix as [out, in], every convolution as [out, in, k, k]."""
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


def _packed(weights):
    """Projections that read the same are put side by side: one product instead of two or three."""
    out = dict(weights)
    for packed, parts in PACKS.items():
        for name in weights:
            if parts[0] in name:
                out[name.replace(parts[0], packed)] = torch.cat([out.pop(name.replace(parts[0], part)) for part in parts])
    return out


def _attend(query, key, value, heads: int, bias=None):
    """Softmax attention of projections [B, t, H], [B, S, H], [B, S, H] -> [B, t, H]."""
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, bias).transpose(1, 2).flatten(2)


def _text_bias(ids):
    """Additive mask [B, 1, T, T]: both sides of a pair must be real."""
    valid = (ids != 0).float()
    return ((1 - valid[:, :, None] * valid[:, None, :]) * MASKED)[:, None]


def _activation(x, name: str):
    if name == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if name == "gelu_tanh" else "none")


def _merged(patches, grid: int, merge: int):
    """[B, grid * grid, W] -> the mean of each square [B, (grid / merge)^2, W]."""
    side = grid // merge
    return patches.unflatten(1, (side, merge, side, merge)).mean((2, 4)).flatten(1, 2)


def _unit(x):
    return x / x.square().sum(-1, keepdim=True).clamp_min(1e-4).sqrt()
