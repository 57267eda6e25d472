"""The sizes of networks that write captions."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

FORM = "captioner"


@dataclass(frozen=True)
class CaptionerConfig:
    """Sizes of a network in the form of Taichu-OPT-CAP: a causal text stream, a causal fusion, and a word head.

    Source: OPT specification, captions, 5. The network reads the image tokens that an encoder has stored, and no pixels.

    Attributes:
        hidden_size: H, the width of the blocks and of the image tokens.
        vocab_size: V, the pieces that are read and written.
        text_layers: blocks that read the words alone.
        fusion_layers: blocks that read the words and the image.
        image_tokens: L, the tokens of an image.
        caption_length: T, the most words of a caption, its end included.
        begin: the first id of a caption in each language.
        end: the id that ends a caption.
        encoder: the fingerprint of the encoder whose image tokens are read.
        form: marks the JSON of this config; always `FORM`.
    """

    name: str
    hidden_size: int
    vocab_size: int
    heads: int
    text_layers: int
    text_intermediate: int
    fusion_layers: int
    fusion_intermediate: int
    max_positions: int
    image_tokens: int
    caption_length: int
    begin: tuple[tuple[str, int], ...]
    end: int
    encoder: str = ""
    type_vocab_size: int = 3
    int8_weights: tuple[str, ...] = ()
    form: str = FORM

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that are written."""
        return tuple(language for language, _ in self.begin)

    def to_json(self) -> str:
        """The config as canonical JSON, which is what the fingerprint hashes."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)
