"""Runs the real command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def manage(*arguments, **environment) -> subprocess.CompletedProcess:
    """`python manage.py ARGUMENTS`, with these variables set."""
    return subprocess.run(
        [sys.executable, "manage.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
        timeout=300,
    )


def answer(*arguments, **environment) -> dict:
    """What the command prints with --json; it must end well."""
    done = manage(*arguments, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
