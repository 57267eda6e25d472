#!/usr/bin/env python
"""The command line of Panoptes. Each room has its commands in `commands.py`; this composes them and prints errors.

Exit codes: 0, all is well; 2, an error that is said in one line; 3, it is done, and some files could not be used; 130, stopped.
`--help` must answer without loading the rooms.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

if missing := [name for name in ("click", "sqlalchemy") if find_spec(name) is None]:
    sys.exit(
        f"Error: this Python ({sys.executable}) has no {missing[0]}: run `.venv/bin/python manage.py`, which `make demo` "
        "makes, or `pip install -r requirements.txt`."
    )

import click

import encoder.commands
import indexer.commands
import search.commands
import storage.commands
import web.commands
from storage.console import allow_many_files, printable
from storage.interrupts import end_stopped, take_interrupts, take_terminations

ERRORS = {
    "encoder": "EncoderError",
    "storage": "StorageError",
    "indexer": "IndexerError",
    "search": "SearchError",
    "web": "WebError",
}
"""The base class of what each room raises on purpose, in its `errors.py`."""
ROOMS_WITH_HINTS = ("encoder", "storage", "indexer", "search")


class Panoptes(click.Group):
    """Prints the one line of an error that Panoptes raised on purpose, and exits with 2."""

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            end_stopped()
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in ("", *ERRORS):  # a fault of ours
                raise
            hint = "run `pip install -r requirements.txt`."
            click.echo(f"Error: this Python ({sys.executable}) has no {package}: {hint}", err=True)
            ctx.exit(2)
        except Exception as error:
            if not _is_ours(error):
                raise
            click.echo(printable(f"Error: {error_line(error)}"), err=True)
            ctx.exit(2)


def _is_ours(error: Exception) -> bool:
    """Whether a room raised it on purpose; a room that was never imported cannot have."""
    return any(
        isinstance(error, getattr(sys.modules[f"{room}.errors"], base))
        for room, base in ERRORS.items()
        if f"{room}.errors" in sys.modules
    )


def error_line(error: Exception) -> str:
    """What is wrong and, as the room that raised the error has it, what to do."""
    for room in ROOMS_WITH_HINTS:
        hints = import_module(f"{room}.hints").HINTS
        if (hint := next((hints[kind] for kind in type(error).__mro__ if kind in hints), None)) is not None:
            return f"{error}: {told}." if (told := hint(error)) else str(error)
    return str(error)


@click.group(cls=Panoptes)
def cli():
    """Panoptes finds photos by sentences, in English and Chinese, and sentences by photos."""


for room in (encoder, storage, indexer, search, web):
    for command in room.commands.COMMANDS:
        cli.add_command(command)

if __name__ == "__main__":
    take_terminations()
    take_interrupts()
    allow_many_files()
    cli()
