"""Ctrl-C: the command ends soon, whatever it is doing, and so do the processes that it started."""

from __future__ import annotations

import _thread
import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from threading import Thread
from typing import Protocol

STDERR = 2
STOPPED = "Stopped. What was published is as it was; run the same command to go on."
PATIENCE_S = 0.5
"""A command that was stopped may take so long to end by itself; a batch that is being encoded takes longer."""
TIDYING_S = 5
"""So long a command that was stopped may take to end the processes it started and to remove its temporary folders."""


class Bar(Protocol):
    """A progress bar on standard error."""

    disable: bool


open_bars: list[Bar] = []
temporary_folders: list[Path] = []
"""Folders that are removed when the command is stopped."""
_ending = threading.Lock()
_patient = True


def take_interrupts() -> None:
    """Have Ctrl-C raise KeyboardInterrupt in this, the main thread, and end the command soon, whatever it is doing.

    Libraries set handlers of their own, MindSpore one at each run. So the signal is blocked in every thread, and one thread
    waits for it. To be called before there are other threads.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # whoever started this wants it ignored
        return
    from multiprocessing import resource_tracker

    resource_tracker._IGNORED_SIGNALS = (signal.SIGTERM,)  # it would unblock these in the thread that starts a process
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGURG, lambda *_: None)  # wakes the main thread from whatever it waits for
    Thread(target=_pass_on, args=(threading.main_thread().ident,), name="interrupts", daemon=True).start()


def end_by_itself() -> None:
    """Let Ctrl-C only raise KeyboardInterrupt from now on: the command sees to its end, which may take longer."""
    global _patient
    _patient = False


def _pass_on(main: int) -> None:
    while True:
        signal.sigwait({signal.SIGINT})
        _thread.interrupt_main()
        signal.pthread_kill(main, signal.SIGURG)
        if _patient:
            time.sleep(PATIENCE_S)
            end_stopped()


def end_stopped() -> None:
    """Say that the command was stopped and end the process at once, and those that it started, with 130.

    What is being written can be killed at any instant. Waiting for threads would take as long as what they encode, and
    MindSpore aborts with a trace in an interpreter that shuts down.
    """
    if not _ending.acquire(blocking=False):
        threading.Event().wait()  # the other thread is about to end the process
    try:
        tidying = Thread(target=_tidy, daemon=True)
        tidying.start()
        tidying.join(TIDYING_S)  # an interrupted thread may have left a lock held that is needed here
    finally:
        os._exit(130)


def _tidy() -> None:
    for step in (_kill_children, _say_stopped, _remove_temporary, sys.stdout.flush):
        with contextlib.suppress(Exception):  # nobody may be left to read what is said
            step()


def _kill_children() -> None:
    for child in sys.modules["multiprocessing"].active_children() if "multiprocessing" in sys.modules else ():
        child.kill()


def _remove_temporary() -> None:
    for folder in temporary_folders:
        shutil.rmtree(folder, ignore_errors=True)


def _say_stopped() -> None:
    """Say it without a lock: the main thread may have been interrupted while it drew a bar, and keep the bar's lock."""
    below = "\n" if any(not shown.disable for shown in open_bars) else ""
    os.write(STDERR, f"{below}{STOPPED}\n".encode())
