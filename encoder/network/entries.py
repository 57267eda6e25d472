"""The functions of a network that the rest of Panoptes calls, as cells that are compiled, or exported as ONNX."""

from __future__ import annotations

from mindspore import Tensor, nn

from encoder.captioner_config import CaptionerConfig, CaptioningConfig, TextOutputConfig
from encoder.config import AnyConfig
from encoder.network.captioner import CaptionerModel
from encoder.network.opt import OptModel
from encoder.network.single_stream import SingleStreamModel
from encoder.network.text_output import TextOutputModel
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


class TokensOfImages(Entry):
    """The entry `images` of a network without vectors."""

    def construct(self, pixels: Tensor) -> Tensor:
        """Encode images: pixels [B, 3, S, S], or rows of regions [B, R, F + 8] -> tokens [B, L, W]."""
        return self.model.image_tokens(pixels)


class SingleStreamMatch(Entry):
    """The entry `match` of a network that reads text and image as one sequence."""

    def construct(self, ids: Tensor, valid: Tensor, tokens: Tensor) -> Tensor:
        """Score pairs: ids and valid int32 [B, T], tokens [B, L, W] -> match logits [B]."""
        return self.model.match_logits(ids, valid, tokens)


class Memory(Entry):
    """The entry `memory` of a captioner."""

    def construct(self, tokens: Tensor) -> Tensor:
        """Project images: tokens [N, L, W] -> what their captions attend to [N, 2 * layers, L, H]."""
        return self.model.memory(tokens)


class Step(Entry):
    """The entry `step` of a captioner: one more word of W captions of each of N images."""

    def construct(self, ids: Tensor, places: Tensor, cache: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Score the next words.

        Args:
            ids: the last word of each caption, int32 [N, W].
            places: the place of the last word, 1 there and 0 elsewhere, float32 [N, W, T].
            cache: keys and values of the words before, [N, W, 2 * layers, T, H].
            memory: of the images, [N, 2 * layers, L, H].

        Returns:
            Log-probabilities [N, W, V], and the last word's own keys and values [N, W, 2 * layers, H].
        """
        images, captions = ids.shape
        rows = images * captions
        scores, own = self.model.step(
            ids.reshape((rows,)), places.reshape((rows, -1)), cache.reshape((rows,) + cache.shape[2:]), memory
        )
        return scores.reshape((images, captions, -1)), own.reshape((images, captions) + own.shape[1:])


class NextWord(Entry):
    """The entry `next_word` of a captioner whose words attend to the words after them."""

    def construct(self, ids: Tensor, places: Tensor, memory: Tensor) -> Tensor:
        """Score the next words: ids int32 [N, W, T], places [N, W, T], memory [N, 2 * layers, L, H] -> [N, W, V]."""
        images, captions, length = ids.shape
        rows = images * captions
        scores = self.model.next_word(ids.reshape((rows, length)), places.reshape((rows, length)), memory)
        return scores.reshape((images, captions, -1))


def network_of(config: AnyConfig) -> nn.Cell:
    """Create the network of a config, with initial weights."""
    if isinstance(config, CaptionerConfig):
        return CaptionerModel(config)
    if isinstance(config, TextOutputConfig):
        return TextOutputModel(config)
    return SingleStreamModel(config) if isinstance(config, SingleStreamConfig) else OptModel(config)


def entries_of(config: AnyConfig) -> dict[str, type[Entry]]:
    """List the entries that a config's network has, by name.

    Those that search: images, texts, match, attention. Captioners: images, memory, and step or next_word.
    """
    if isinstance(config, CaptioningConfig):
        images = {"images": TokensOfImages} if config.reads_images else {}
        return images | {"memory": Memory} | ({"next_word": NextWord} if config.bidirectional else {"step": Step})
    if isinstance(config, SingleStreamConfig):
        return {"images": TokensOfImages, "match": SingleStreamMatch}
    entries = {"images": Images, "texts": Texts, "match": Match}
    return entries if config.token_grid is None else {**entries, "attention": Attention}
