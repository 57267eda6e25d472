"""The sizes of networks that write captions."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from encoder.inputs.image_inputs import PixelInput, RegionInput
from encoder.single_stream_config import SINGLE_STREAM_PRESETS, SingleStreamConfig

FORM, TEXT_OUTPUT_FORM = "captioner", "text_output"


@dataclass(frozen=True)
class CaptionerConfig:
    """Sizes of a network in the form of Taichu-OPT-CAP: a causal text stream, a causal fusion, and a word head.

    Source: OPT specification, captions, 5. The network reads the image tokens that an encoder has stored, and no pixels; or,
    if `image_size` is not 0, pixels, through an image stream of its own that is Taichu-OPT-v2's.

    Attributes:
        hidden_size: H, the width of the blocks and of the image tokens.
        vocab_size: V, the pieces that are read and written.
        text_layers: blocks that read the words alone.
        fusion_layers: blocks that read the words and the image.
        image_tokens: L, the tokens of an image.
        caption_length: T, the most words of a caption, its end included.
        begin: the first id of a caption in each language.
        end: the id that ends a caption.
        encoder: the fingerprint of the encoder whose image tokens are read; empty with an image stream of its own.
        bidirectional: each word attends to the words after it too, as in the published evaluation; they are few: those that
            are written already.
        guarded: the search writes no marks, and nothing three times in a row. Published searches are not guarded.
        length_penalty: the weight of the length in the ranking of captions (`beam_search.length_penalty`); 1 as published.
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
    image_size: int = 0
    patch_size: int = 0
    image_layers: int = 0
    image_heads: int = 0
    image_intermediate: int = 0
    preprocessing: str = "center_crop"
    bidirectional: bool = False
    guarded: bool = True
    length_penalty: float = 1.0
    form: str = FORM

    @property
    def reads_images(self) -> bool:
        """Whether the network has an image stream of its own."""
        return self.image_size > 0

    @property
    def inputs(self) -> PixelInput:
        """What the network reads of an image; of size 0 where it reads what an encoder has stored."""
        return PixelInput(self.image_size, self.preprocessing)

    @property
    def token_shape(self) -> tuple[int, int]:
        """(L, W) of an image's tokens."""
        return self.image_tokens, self.hidden_size

    @property
    def memory_shape(self) -> tuple[int, int, int]:
        """The shape of what the words attend to in an image: keys and values of each fusion layer."""
        return 2 * self.fusion_layers, self.image_tokens, self.hidden_size

    @property
    def cache_shape(self) -> tuple[int, int, int]:
        """The shape of the keys and values of a caption's words: of each layer, T words."""
        return 2 * (self.text_layers + self.fusion_layers), self.caption_length, self.hidden_size

    @property
    def stacks(self) -> dict[str, int]:
        """The number of blocks of each part."""
        images = {"image": self.image_layers} if self.image_size else {}
        return images | {"text": self.text_layers, "fusion": self.fusion_layers}

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that are written."""
        return tuple(language for language, _ in self.begin)

    def to_json(self) -> str:
        """The config as canonical JSON, which is what the fingerprint hashes."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


@dataclass(frozen=True)
class TextOutputConfig:
    """Sizes of a network in the form of Taichu-OPT-v1 and the model zoo's: a trunk that reads the image, and `txt_output`.

    Source: OPT specification, captions, 1, 3 and 4.

    Attributes:
        trunk: the sizes of what reads the image; what it says of texts is not used.
        width: of the encoder and the decoder of `txt_output`.
        vocab_size: V, the rows of the table of words.
        caption_length: T, the steps of the search: the most words of a caption, its end included.
        begin: the first id of a caption in each language.
        end: the id that ends a caption.
        last_patch: the trunk also reads the patch of zeros behind V1's others, as its inference script does; it was trained
            without.
        form: marks the JSON of this config; always `TEXT_OUTPUT_FORM`.
    """

    name: str
    trunk: SingleStreamConfig
    width: int
    heads: int
    intermediate: int
    encoder_layers: int
    decoder_layers: int
    vocab_size: int
    caption_length: int
    begin: tuple[tuple[str, int], ...] = (("zh", 0),)
    end: int = 0
    last_patch: bool = False
    int8_weights: tuple[str, ...] = ()
    form: str = TEXT_OUTPUT_FORM

    @property
    def reads_images(self) -> bool:
        """True: the trunk reads images."""
        return True

    @property
    def inputs(self) -> PixelInput | RegionInput:
        """What the network reads of an image."""
        return self.trunk.inputs

    @property
    def preprocessing(self) -> str:
        """How a photo becomes a square."""
        return self.trunk.preprocessing

    @property
    def encoder(self) -> str:
        """Empty: the network reads the image itself."""
        return ""

    @property
    def guarded(self) -> bool:
        """False: the search is the published one."""
        return False

    @property
    def length_penalty(self) -> float:
        """1: the search is the published one."""
        return 1.0

    @property
    def bidirectional(self) -> bool:
        """False: no word attends to the words after it."""
        return False

    @property
    def image_size(self) -> int:
        """The side of the square that the network reads, in pixels; 0: it reads regions."""
        return self.trunk.image_size

    @property
    def patch_size(self) -> int:
        """The side of a patch, in pixels."""
        return self.trunk.patch_size

    @property
    def hidden_size(self) -> int:
        """The width of the trunk."""
        return self.trunk.hidden_size

    @property
    def image_tokens(self) -> int:
        """L, the most states of an image that the trunk gives."""
        return self.trunk.regions or self.trunk.grid**2 + self.last_patch

    @property
    def token_shape(self) -> tuple[int, int]:
        """(L, W) of an image's tokens: the trunk's states, 0 for regions that are not there."""
        return self.image_tokens, self.hidden_size

    @property
    def memory_shape(self) -> tuple[int, int, int]:
        """The shape of what the words attend to in an image: keys and values of each decoder layer, 0 for padding."""
        return 2 * self.decoder_layers, self.image_tokens, self.width

    @property
    def cache_shape(self) -> tuple[int, int, int]:
        """The shape of the keys and values of a caption's words: of each decoder layer, T words."""
        return 2 * self.decoder_layers, self.caption_length, self.width

    @property
    def stacks(self) -> dict[str, int]:
        """The number of blocks of each part."""
        return self.trunk.stacks | {"caption encoder": self.encoder_layers, "caption decoder": self.decoder_layers}

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that are written."""
        return tuple(language for language, _ in self.begin)

    def to_json(self) -> str:
        """The config as canonical JSON, which is what the fingerprint hashes."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


SEARCHING = ("encoder", "begin", "end", "guarded", "length_penalty")
"""The fields that say what is searched for, and of whose tokens. They change nothing that the network computes."""

CaptioningConfig = CaptionerConfig | TextOutputConfig
"""The config of any model that writes captions."""


def captioning_config(values: dict[str, Any]) -> CaptioningConfig | None:
    """The config of a captioner from the values of its JSON, with tuples for lists; None if it is another model's."""
    if values.get("form") == FORM:
        return CaptionerConfig(**values)
    if values.get("form") == TEXT_OUTPUT_FORM:
        values = dict(values)
        return TextOutputConfig(trunk=SingleStreamConfig(**values.pop("trunk")), **values)
    return None


_OUTPUT: dict[str, Any] = dict(width=1024, heads=16, intermediate=4096, encoder_layers=6, decoder_layers=6, vocab_size=36560)

OPT_CAP = CaptionerConfig(
    name="opt-cap",
    hidden_size=768,
    vocab_size=21128,
    heads=12,
    text_layers=6,
    text_intermediate=3072,
    fusion_layers=6,
    fusion_intermediate=3072,
    max_positions=512,
    image_tokens=577,
    caption_length=30,
    begin=(("zh", 0),),
    end=0,
    image_size=384,
    patch_size=16,
    image_layers=12,
    image_heads=12,
    image_intermediate=3072,
    guarded=False,
)
V1_CAPTION = TextOutputConfig(name="opt-v1-caption", trunk=SINGLE_STREAM_PRESETS["opt-v1"], caption_length=50, **_OUTPUT)
ZOO_CAPTION = TextOutputConfig(
    name="opt-zoo-caption", trunk=SINGLE_STREAM_PRESETS["opt-zoo-trunk"], caption_length=30, **_OUTPUT
)
"""The captioners as they were published."""
