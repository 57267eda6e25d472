"""What can go wrong in the encoder; each message is the one line a person reads."""

from __future__ import annotations


class EncoderError(Exception):
    """Base of every error the encoder raises on purpose."""


class UnreadableImage(EncoderError):
    """A photo that cannot be decoded; `reason` is a short code for lists and counts."""

    def __init__(self, reason: str, sentence: str):
        super().__init__(sentence)
        self.reason = reason


class UnknownDevice(EncoderError):
    """PANOPTES_DEVICE names neither CPU nor Ascend, or the device does not answer."""


class UnknownRuntime(EncoderError):
    """PANOPTES_RUNTIME names nothing that runs networks on the device."""


class BadThreads(EncoderError):
    """PANOPTES_THREADS is no number of processors."""


class NoOnnxRuntime(EncoderError):
    """ONNX Runtime isn't there, or is too old."""

    def __init__(self, problem: str):
        super().__init__(f"{problem}: run `pip install -r requirements.txt`, or set PANOPTES_RUNTIME=mindspore.")


class NoMindSpore(EncoderError):
    """MindSpore isn't installed, and something needs it."""

    def __init__(self, wanted: str):
        super().__init__(f"{wanted} needs MindSpore, which is not installed: run `pip install -r requirements.txt`.")


class DeviceLost(EncoderError):
    """A process that had a device to itself ended before it had answered."""

    def __init__(self, number: int, code: int | None):
        super().__init__(
            f"The process that encodes on device {number} ended (exit code {code}), for want of memory perhaps; "
            "run the same command again to go on, with fewer --devices if that is so."
        )


class BadCheckpoint(EncoderError):
    """A checkpoint that is absent, damaged, or does not fit the network."""


class BadGraphs(BadCheckpoint):
    """The exported graphs of a model are absent, damaged, or don't fit it."""

    def __init__(self, model, problem: str):
        super().__init__(
            f"The graphs of the model in {model} can't be used: {problem}; "
            f"`python manage.py model export {model}` makes them anew."
        )


class NoInt8Graphs(BadCheckpoint):
    """A model has no graphs with 8-bit products that can be used."""

    def __init__(self, model, problem: str):
        super().__init__(
            f"The 8-bit graphs of the model in {model} {problem}: `python manage.py model quantize {model} --data "
            "MANIFEST` makes them, and without PANOPTES_PRECISION=int8 none are needed."
        )


class UnknownPrecision(EncoderError):
    """PANOPTES_PRECISION names none that there is."""


class NotACheckpoint(BadCheckpoint):
    """A file that is no MindSpore `.ckpt`, or not a whole one."""

    def __init__(self, path, problem: str):
        super().__init__(f"{path} {problem}.")


class UnusableForm(BadCheckpoint):
    """A checkpoint that was recognised, but whose network this version doesn't have; or that was not recognised."""


class UnknownModel(EncoderError):
    """A model that is neither in the home nor a folder."""


class BadModelName(EncoderError):
    """A name that no model can have, or that one has already."""


class UnusableModels(EncoderError):
    """The folder of models cannot be written to."""


class NoVectors(EncoderError):
    """A model that can only re-rank was chosen to find."""


class NoAttention(EncoderError):
    """A model that can't say where in an image it looks."""

    def __init__(self, name: str):
        super().__init__(f"{name} can't show where in a photo it looks: a model can that reads pixels as Taichu-OPT-v2 does.")


class BadTrainingData(EncoderError):
    """Training data that is absent, or too little to train on."""
