"""What the commands of all rooms share: options, progress bars, and printing of results."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Thread
from typing import Protocol

import click

from storage.errors import unusable
from storage.interrupts import open_bars, temporary_folders

HOME = click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="PANOPTES_HOME",
    default=Path("var"),
    show_default=True,
    help="Where collections, models and the catalog are kept (or PANOPTES_HOME).",
)
COLLECTION = click.option("--collection", default="default", show_default=True, help="The collection's name.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

STDIN = 0
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


class Progress(Protocol):
    """What a long task calls after each step."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


def allow_many_files() -> None:
    """Raise the number of files that may be open to the system's limit: a segment takes four."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def bar(unit: str, quiet: bool = False) -> Iterator[Progress]:
    """Draw a progress bar with rate and remaining time on standard error, in a `with` block.

    Nothing is drawn before the first call, so that a command that fails at once prints its one line only.

    Args:
        unit: What is counted, in the plural.
        quiet: Draw nothing.

    Yields:
        A function to call after each step.
    """
    from tqdm import tqdm

    shown = None

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal shown
        if stage == "publish":  # seconds at most, and a bar of photos would show a wrong rate
            return
        if shown is None:
            shown = tqdm(unit=f" {unit}", disable=quiet, dynamic_ncols=True, file=sys.stderr)
            open_bars.append(shown)
        shown.total = total
        shown.set_description(stage, refresh=False)
        shown.update(done - shown.n)

    try:
        yield progress
    finally:
        if shown is not None:
            shown.close()
            open_bars.remove(shown)


@contextlib.contextmanager
def temporary_folder(home: Path) -> Iterator[Path]:
    """Make a folder inside the home, where there is room for an index; it is removed after the `with` block.

    Raises:
        UnusableHome: The folder can't be made.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="evaluate-", dir=home)
    except OSError as error:
        raise unusable(home, error) from error
    with folder as name:
        temporary_folders.append(Path(name))
        yield Path(name)


def integers(text: str, option: str) -> list[int]:
    """Parse whole numbers from 0 upwards, separated by commas.

    Args:
        text: The value of the option.
        option: The option's name, for the error.

    Raises:
        click.BadParameter: The text is something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise click.BadParameter(f"{text!r} is not a list of whole numbers such as 0,32", param_hint=option)
    return [int(part) for part in parts]


def say(value: dict, lines: Callable[[dict], Iterable[str]], as_json: bool) -> None:
    """Print a command's result: as JSON, or as the lines that `lines` makes of it."""
    if as_json:
        click.echo(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        print_lines(lines(value))


def print_lines(lines: Iterable[str], err: bool = False) -> None:
    """Print lines on standard output, or with `err` on standard error."""
    for line in lines:
        click.echo(printable(line), err=err)


def printable(line: str) -> str:
    """Escape control characters and invalid text in a line: a file's name in it may try to control the terminal."""
    return line.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode("utf-8")


def end_with_parent() -> None:
    """End this process, as SIGTERM does, when its standard input is closed, as happens when the parent process dies."""

    def watch() -> None:
        while os.read(STDIN, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, name="watch-parent", daemon=True).start()
