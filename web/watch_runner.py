"""Runs `build-index --watch` beside a server, in a process that ends with it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from storage import Home
from storage.errors import UnknownCollection, unusable
from web.build_runner import COMMAND, end_process, source_options

STOP_TIMEOUT_S = 10.0


class WatchRunner:
    """A process that keeps a collection in step with a source. What it prints goes where the server's own lines go."""

    def __init__(self, home: Home, collection: str, source: Path, options: Sequence[str] = ()):
        """Start the process.

        Args:
            home: The home.
            collection: The collection's name.
            source: The source; it is opened as it was when it was indexed before, if it was.
            options: Options of `build-index`, such as ("--model", "opt-v2-base").

        Raises:
            UnusableHome: No process can be started.
        """
        command = [*COMMAND, str(source), "--watch", "--with-parent", *recorded_options(home, collection, source), *options]
        own = ["--home", str(home.path), "--collection", collection]
        try:
            self._process = subprocess.Popen([*command, *own], stdin=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            raise unusable(home.path, error) from error

    def close(self) -> None:
        """End the process. It may be killed at any instant; what it encoded stays for the next run."""
        end_process(self._process, STOP_TIMEOUT_S)


def recorded_options(home: Home, collection: str, source: Path) -> list[str]:
    """The options with which a source was indexed before, however its path is written now."""
    try:
        home.collection(collection)
    except UnknownCollection:
        return []
    known = home.catalog.sources(collection).get(os.path.abspath(source.expanduser()))
    return source_options({**known, "limit": None}) if known else []
