"""The functions of a network that the rest of Panoptes calls, as cells that are compiled, or exported as ONNX."""

from __future__ import annotations

from mindspore import Tensor, nn

from encoder.config import OptConfig
from encoder.network.opt import OptModel
from encoder.network.single_stream import SingleStreamModel
from encoder.single_stream_config import SingleStreamConfig


class Entry(nn.Cell):
    """A function of a model, as a runtime calls it. Base class of the entries."""

    def __init__(self, model: nn.Cell):
        super().__init__()
        self.model = model

    @property
    def compile_phase(self) -> str:
        """The graph that a call runs.

        MindSpore 2.10 passes it on to every cell below at each call. No graph needs that, and it takes 2 of the 8 ms of a
        sentence of opt-mini.
        """
        return self._compile_phase

    @compile_phase.setter
    def compile_phase(self, phase: str) -> None:
        self._compile_phase = phase


class Images(Entry):
    """The entry `images`."""

    def construct(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images: float32 0..255 [B, 3, S, S], or rows of regions [B, R, F + 8] -> vectors [B, D], tokens [B, L, H]."""
        tokens = self.model.image_tokens(pixels)
        return self.model.image_vectors(tokens), tokens


class Texts(Entry):
    """The entry `texts`."""

    def construct(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Encode texts: ids int32 [B, T] -> vectors [B, D], states [B, T, H]."""
        states = self.model.text_states(ids)
        return self.model.text_vectors(states), states


class Match(Entry):
    """The entry `match`."""

    def construct(self, states: Tensor, ids: Tensor, tokens: Tensor) -> Tensor:
        """Score pairs: states [B, T, H], ids int32 [B, T], tokens [B, L, H] -> match logits [B]."""
        return self.model.match_logits(states, ids, tokens)[:, 1]


class Attention(Entry):
    """The entry `attention`."""

    def construct(self, states: Tensor, ids: Tensor, tokens: Tensor) -> Tensor:
        """Explain pairs: states [B, T, H], ids int32 [B, T], tokens [B, L, H] -> cross-attention weights [B, layers, T, L]."""
        return self.model.match_attention(states, ids, tokens)


class SingleStreamImages(Entry):
    """The entry `images` of a network without vectors."""

    def construct(self, pixels: Tensor) -> Tensor:
        """Encode images: pixels [B, 3, S, S], or rows of regions [B, R, F + 8] -> tokens [B, L, W]."""
        return self.model.image_tokens(pixels)


class SingleStreamMatch(Entry):
    """The entry `match` of a network that reads text and image as one sequence."""

    def construct(self, ids: Tensor, valid: Tensor, tokens: Tensor) -> Tensor:
        """Score pairs: ids and valid int32 [B, T], tokens [B, L, W] -> match logits [B]."""
        return self.model.match_logits(ids, valid, tokens)


def network_of(config: OptConfig | SingleStreamConfig) -> nn.Cell:
    """Create the network of a config, with initial weights."""
    return SingleStreamModel(config) if isinstance(config, SingleStreamConfig) else OptModel(config)


def entries_of(config: OptConfig | SingleStreamConfig) -> dict[str, type[Entry]]:
    """List the entries that a config's network has, by name: images, texts, match, attention."""
    if isinstance(config, SingleStreamConfig):
        return {"images": SingleStreamImages, "match": SingleStreamMatch}
    entries = {"images": Images, "texts": Texts, "match": Match}
    return entries if config.token_grid is None else {**entries, "attention": Attention}
