"""bandit finds nothing of weight in any room; what it was told to pass over says why."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.commands import ROOT

ROOMS = re.search(r"^ROOMS := (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()


def test_every_room_is_looked_through():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert set(ROOMS) == packages | {path.name for path in ROOT.glob("*.py")}


def test_bandit_finds_nothing_of_weight():
    done = subprocess.run([sys.executable, "-m", "bandit", "-q", "-ll", "-r", *ROOMS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_passed_over_says_why():
    lines = [line for room in ROOMS for path in (sorted((ROOT / room).rglob("*.py")) or [ROOT / room])
             for line in path.read_text("utf-8").splitlines() if re.search("# *nosec", line)]  # fmt: skip
    assert lines and all(re.search(r"# nosec B\d+ # \w.{8}", line) for line in lines)
