"""The functions of a network that the rest of Panoptes calls, as cells: to be compiled, or exported as ONNX."""

from __future__ import annotations

from mindspore import nn

from encoder.network.opt import OptModel
from encoder.network.single_stream import SingleStreamModel
from encoder.single_stream_config import SingleStreamConfig


class Entry(nn.Cell):
    """A function of a model, as a runtime calls it."""

    def __init__(self, model: nn.Cell):
        super().__init__()
        self.model = model

    @property
    def compile_phase(self) -> str:
        """Which graph a call runs. MindSpore 2.10 tells it to each cell below at each call, which no graph needs, and which
        takes 2 of the 8 ms of a sentence of opt-mini."""
        return self._compile_phase

    @compile_phase.setter
    def compile_phase(self, phase: str) -> None:
        self._compile_phase = phase


class Images(Entry):
    """Images to vectors and tokens."""

    def construct(self, pixels):
        """float32 0..255 [B, 3, S, S], or rows of regions [B, R, F + 8] -> vectors [B, D], tokens [B, L, H]."""
        tokens = self.model.image_tokens(pixels)
        return self.model.image_vectors(tokens), tokens


class Texts(Entry):
    """Sentences to vectors and states."""

    def construct(self, ids):
        """int32 [B, T] -> vectors [B, D], states [B, T, H]."""
        states = self.model.text_states(ids)
        return self.model.text_vectors(states), states


class Match(Entry):
    """Pairs to match logits."""

    def construct(self, states, ids, tokens):
        """states [B, T, H], ids int32 [B, T], tokens [B, L, H] -> match logits [B]."""
        return self.model.match_logits(states, ids, tokens)[:, 1]


class Attention(Entry):
    """Pairs to the weights of the fusion's cross-attention."""

    def construct(self, states, ids, tokens):
        """states [B, T, H], ids int32 [B, T], tokens [B, L, H] -> attention weights [B, layers, T, L]."""
        return self.model.match_attention(states, ids, tokens)


class SingleStreamImages(Entry):
    """Images to tokens, of a network without vectors."""

    def construct(self, pixels):
        """What the config's `inputs` are -> tokens [B, L, W]."""
        return self.model.image_tokens(pixels)


class SingleStreamMatch(Entry):
    """Pairs to match logits, of a network that reads both as one sequence."""

    def construct(self, ids, valid, tokens):
        """ids and valid int32 [B, T], tokens [B, L, W] -> match logits [B]."""
        return self.model.match_logits(ids, valid, tokens)


def network_of(config) -> nn.Cell:
    """The network of a config, with initial weights."""
    return SingleStreamModel(config) if isinstance(config, SingleStreamConfig) else OptModel(config)


def entries_of(config) -> dict[str, type[Entry]]:
    """The entries of a config's network, by name: images, texts, match, attention, as far as there are."""
    if isinstance(config, SingleStreamConfig):
        return {"images": SingleStreamImages, "match": SingleStreamMatch}
    entries = {"images": Images, "texts": Texts, "match": Match}
    return entries if config.token_grid is None else {**entries, "attention": Attention}
