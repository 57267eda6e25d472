"""A captioner that names the colour of a photo, quick and the same everywhere.

`python -m tests.support.captioners COMMAND ...` runs `manage.py COMMAND ...` with it in place of the real one, and with the
encoder that finds photos by their colour.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from encoder.api import WrittenCaption
from encoder.errors import UnwrittenLanguage
from tests.support.fakes import COLOURS, FakeConfig, FakeEncoder

SENTENCES = {"en": "a wall painted {}", "zh": "一面{}色的墙"}


class ColourWriter:
    """Writes "a wall painted red" and "一面红色的墙" of what a `FakeEncoder` stores. Every call is recorded in `calls`."""

    languages = ("en", "zh")
    config = FakeConfig()

    def __init__(self, fingerprint: str = "feed000000000001", reads: str | None = "fake000000000001"):
        self.fingerprint, self.encoder_fingerprint = fingerprint, reads
        self.calls: list[tuple[str, int]] = []

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        self.calls.append(("encode_images", len(images)))
        return FakeEncoder().encode_images(images).tokens

    def write(self, tokens: np.ndarray, language: str, beams: int = 4) -> list[WrittenCaption]:
        if language not in self.languages:
            raise UnwrittenLanguage(language, self.languages)
        self.calls.append(("write", len(tokens)))
        return [WrittenCaption(SENTENCES[language].format(name_of(one, language)), -1.5 - beams / 8) for one in tokens]


def name_of(tokens: np.ndarray, language: str) -> str:
    """The name of the colour that tokens [L, W] hold."""
    named = {name: colour for name, colour in COLOURS.items() if name.isascii() == (language == "en")}
    return min(named, key=lambda name: float(np.abs(np.array(named[name]) / 255 - tokens[0, :3]).sum()))


def main() -> None:
    import encoder.selection
    import manage

    setattr(encoder.selection, "captioner_of", lambda *chosen: SimpleNamespace(open=ColourWriter))  # noqa: B010
    setattr(encoder.selection.ModelSelection, "open", lambda *chosen: FakeEncoder())  # noqa: B010
    manage.cli()


if __name__ == "__main__":
    main()
