"""Runs the real command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.support.command_server import CommandServer

ROOT = Path(__file__).parents[2]
SECONDS = 300

_known: set[str] = set()
"""The commands that this process has run."""


def manage(*arguments, **environment) -> subprocess.CompletedProcess:
    """`python manage.py ARGUMENTS`, with these variables set.

    The first of each kind (the command and its options), and one for which a variable of Python's own is set, is a Python
    that has imported nothing yet, so that what a command imports is seen to be enough. Others are forked from one that has
    imported everything: it takes a second each.
    """
    words = [str(argument) for argument in arguments]
    everything = os.environ | {"PYTHONIOENCODING": "utf-8"} | environment
    options = sorted({word for word in words if word.startswith("--")})
    kind = " ".join([*(words[:2] if words[0] == "model" else words[:1]), *options])
    if kind in _known and not any(name.startswith("PYTHON") for name in environment):
        return _server().run(words, everything, SECONDS)
    _known.add(kind)
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=everything,
        timeout=SECONDS,
    )


_server = cache(CommandServer)


def answer(*arguments, **environment) -> dict:
    """What the command prints with --json; it must end well."""
    done = manage(*arguments, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
