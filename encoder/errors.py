"""The errors of the encoder. Each message is the one line that a person reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class EncoderError(Exception):
    """The base of every error that the encoder raises on purpose. It can be pickled, to cross between processes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[EncoderError], arguments: tuple[Any, ...], facts: dict[str, Any]) -> EncoderError:
    """An error as it was pickled, without its class's own arguments."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(facts)
    return error


class UnreadableImage(EncoderError):
    """A photo or its features cannot be read.

    Attributes:
        reason: a short code for lists and counts, such as "damaged".
    """

    def __init__(self, reason: str, sentence: str):
        super().__init__(sentence)
        self.reason = reason


class UnknownDevice(EncoderError):
    """There is no device of this name, or the device does not answer."""


class UnknownRuntime(EncoderError):
    """PANOPTES_RUNTIME names no runtime that works on the device."""


class BadThreads(EncoderError):
    """PANOPTES_THREADS is not a number of processors."""


class NoOnnxRuntime(EncoderError):
    """ONNX Runtime is not installed, or is too old."""

    def __init__(self, problem: str):
        super().__init__(f"{problem}: run `pip install -r requirements.txt`, or set PANOPTES_RUNTIME=mindspore.")


class NoMindSpore(EncoderError):
    """MindSpore is not installed, and something needs it."""

    def __init__(self, wanted: str):
        super().__init__(f"{wanted} needs MindSpore, which is not installed: run `pip install -r requirements.txt`.")


class DeviceLost(EncoderError):
    """The process of a device ended before it answered.

    Attributes:
        number: the number of the device.
        code: the exit code of the process; None: it had not ended yet.
    """

    def __init__(self, number: int, code: int | None):
        self.number, self.code = number, code
        super().__init__(f"The process that encodes on device {number} ended (exit code {code})")


class BadCheckpoint(EncoderError):
    """A checkpoint is absent, damaged, or does not fit the network."""


class BadGraphs(BadCheckpoint):
    """The exported graphs of a model are absent, damaged, or don't fit it."""

    def __init__(self, model: Path, problem: str):
        self.model, self.problem = model, problem
        super().__init__(f"The graphs of the model in {model} can't be used ({problem})")


class NoInt8Graphs(BadCheckpoint):
    """The 8-bit graphs of a model are absent, damaged, or don't fit it."""

    def __init__(self, model: Path, problem: str):
        self.model, self.problem = model, problem
        super().__init__(f"The 8-bit graphs of the model in {model} {problem}")


class UnknownPrecision(EncoderError):
    """PANOPTES_PRECISION names no precision that there is."""


class NotACheckpoint(BadCheckpoint):
    """A file is not a MindSpore `.ckpt`, or not a whole one."""

    def __init__(self, path: Path, problem: str):
        self.path, self.problem = path, problem
        super().__init__(f"{path} {problem}.")


class UnusableForm(BadCheckpoint):
    """A checkpoint is not of an OPT that this version knows, or its sizes are impossible."""


class UnknownModel(EncoderError):
    """There is no model of this name in the home, nor a folder of this path."""


class BadModelName(EncoderError):
    """A new model cannot have this name, or another model has it already."""


class UnusableModels(EncoderError):
    """The folder of the imported models cannot be written to."""


class CannotWrite(EncoderError):
    """A model that searches was chosen where one that writes captions is needed."""

    def __init__(self, model: Path):
        self.model = model
        super().__init__(f"The model in {model} can't write captions: it is made for search")


class UnwrittenLanguage(EncoderError):
    """A captioner was asked for a language that it doesn't write."""

    def __init__(self, language: str, languages: tuple[str, ...]):
        self.language, self.languages = language, languages
        super().__init__(f"The captioner doesn't write {language!r}: it writes {', '.join(languages)}")


class NoVectors(EncoderError):
    """A model that can only re-rank was chosen for the first stage."""


class NoAttention(EncoderError):
    """The model has no cross-attention that could be shown."""

    def __init__(self, name: str):
        super().__init__(f"{name} can't show where in a photo it looks: a model can that reads pixels as Taichu-OPT-v2 does.")


class BadTrainingData(EncoderError):
    """Training data is absent, or too little to train on."""
