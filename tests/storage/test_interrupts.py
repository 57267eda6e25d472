"""How a command is ended from outside."""

from __future__ import annotations

import subprocess
import sys

DELAYED = """
import os, signal, time
from storage import interrupts
interrupts.AGAIN_S = 0.05
interrupts.take_terminations()

class Ended:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

Ended()
print("goes on", flush=True)
time.sleep(60)
"""


def test_a_termination_that_python_ignores_is_not_lost():
    ended = subprocess.run([sys.executable, "-c", DELAYED], capture_output=True, text=True, timeout=30)
    assert ended.stdout == "goes on\n" and "Exception ignored" in ended.stderr
    assert ended.returncode == 143
