"""^C in a terminal, while a command encodes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from storage import interrupts
from tests.support.commands import ROOT, answer

LINE = interrupts.STOPPED
ENCODED = r"\b[1-4][0-9]/60\b"
PATIENCE_S = 10
"""The promise is 2 s; a machine that runs other tests as well takes longer."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts processes in /proc")


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, arguments, **environment):
        self.said = b""
        command = [sys.executable, "manage.py", *map(str, arguments)]
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job, such as these tests may be, ignores it
            os.chdir(ROOT)
            os.execve(sys.executable, command, os.environ | environment)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))

    def read_until(self, pattern: str, seconds: float = 120) -> None:
        """Until that was said."""
        end = time.monotonic() + seconds
        while not re.search(pattern.encode(), self.said):
            assert time.monotonic() < end and self._read(), self.said.decode()

    def interrupt(self) -> float:
        """Type ^C; how long it takes to end."""
        self.children = descendants(self.pid)
        start = time.monotonic()
        os.write(self._terminal, b"\x03")
        while self._read():
            assert time.monotonic() < start + PATIENCE_S, self.said.decode()
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return time.monotonic() - start

    def _read(self) -> bool:
        if not select.select([self._terminal], [], [], 0.1)[0]:
            return True
        try:
            part = os.read(self._terminal, 4096)
        except OSError:  # nobody has it open any more
            part = b""
        self.said += part
        return bool(part)


def descendants(pid: int) -> set[int]:
    """The processes that a process started, and those that they did."""
    found = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found |= {child} | descendants(child)
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_stopped(terminal: Terminal) -> None:
    seconds = terminal.interrupt()
    said = terminal.said.decode()
    assert terminal.code == 130, said
    assert said.splitlines()[-1] == LINE and "Traceback" not in said
    assert terminal.children
    end = time.monotonic() + PATIENCE_S
    while left := [pid for pid in terminal.children if runs(pid)]:
        assert time.monotonic() < end, left
        time.sleep(0.05)
    print(f"ended {seconds:.2f} s after ^C")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """More than one process reads, and more than the encoder has read when it's told of the first ones."""
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(60):
        Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a dog and {number} cats")
    return folder


@pytest.mark.parametrize("options", [[], ["--devices", "2"]])
def test_a_build_that_begins(photos, tmp_path, options):
    """It reads photos, and compiles where it has to."""
    terminal = Terminal(["build-index", photos, "--home", tmp_path / "home", *options], PANOPTES_CACHE=str(tmp_path / "graphs"))
    terminal.read_until("photos")
    time.sleep(2)
    assert_stopped(terminal)


def test_an_evaluation_leaves_nothing_in_the_home(photos, tmp_path):
    terminal = Terminal(["evaluate", photos, "--home", tmp_path])
    terminal.read_until(ENCODED)
    assert_stopped(terminal)
    assert not list(tmp_path.glob("evaluate-*"))


@pytest.mark.parametrize(
    "runtime",
    [
        pytest.param({}, id="as usual"),
        pytest.param({"PANOPTES_RUNTIME": "mindspore"}, id="mindspore", marks=pytest.mark.long),
    ],
)
def test_a_build_goes_on_after_it_was_stopped(photos, tmp_path, runtime):
    """MindSpore has a handler of its own for ^C whenever a graph runs. Which runtime goes on makes no difference."""
    terminal = Terminal(["build-index", photos, "--home", tmp_path], **runtime)
    terminal.read_until(ENCODED)
    assert_stopped(terminal)
    assert answer("build-index", photos, "--home", tmp_path)["images"] == 60


INTERRUPTED_WITH_A_LOCK_HELD = """
import os, signal, time, tqdm
from storage import console, interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
interrupts.take_interrupts()
with console.bar("photos") as progress:
    progress("photos", 16, 60)
    tqdm.tqdm.get_lock().acquire()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    finally:
        time.sleep(60)
"""


def test_a_command_interrupted_while_it_draws_a_bar():
    """An interrupt can come between the taking of the bar's lock and the block that gives it back."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WITH_A_LOCK_HELD], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == LINE
