"""What to do about an error of this room, for the command line. Each hint follows the error's message and a colon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from encoder.errors import BadGraphs, DeviceLost, NoInt8Graphs, UnwrittenLanguage

HINTS: dict[type[Exception], Callable[[Any], str]] = {
    BadGraphs: lambda error: f"`python manage.py model export {error.model}` makes them anew",
    DeviceLost: lambda error: (
        "run the same command again to go on; with fewer --devices if there is too little memory for so many processes"
    ),
    NoInt8Graphs: lambda error: (
        f"`python manage.py model quantize {error.model} --data MANIFEST` makes them; without PANOPTES_PRECISION=int8 none "
        "are needed"
    ),
    UnwrittenLanguage: lambda error: "name one of these with --lang",
}
