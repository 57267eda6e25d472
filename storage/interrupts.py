"""Ctrl-C and SIGTERM: the command ends soon, whatever it does at the moment, and so do the processes that it started."""

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
from typing import Any, Protocol

STDERR = 2
STOPPED = "Stopped. What was published is as it was; run the same command to go on."
GRACE_S = 0.5
"""The time that a stopped command has to end by itself; a batch that is being encoded takes longer."""
CLEANUP_S = 5
"""The time that a stopped command has to end the processes it started and to remove its temporary folders."""
AGAIN_S = 10
"""The time that a command has to end by itself after SIGTERM."""


class Bar(Protocol):
    """A progress bar on standard error."""

    disable: bool


open_bars: list[Bar] = []
"""Progress bars that are on the screen."""
temporary_folders: list[Path] = []
"""Folders that are removed when the command is stopped."""
_ending = threading.Lock()
_forced = True
"""True if a stopped command is ended after GRACE_S."""


def take_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt in the main thread, and end the command soon, whatever it does at the moment.

    Call this in the main thread, before there are other threads. Libraries set their own handlers, MindSpore one at each run;
    so the signal is blocked in every thread, and one thread waits for it.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # the parent process wants it ignored
        return
    from multiprocessing import resource_tracker

    tracker: Any = resource_tracker
    tracker._IGNORED_SIGNALS = (signal.SIGTERM,)  # it would unblock these in the thread that starts a process
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGURG, lambda *_: None)  # wakes the main thread from whatever it waits for
    Thread(target=_forward_interrupts, args=(threading.main_thread().ident,), name="interrupts", daemon=True).start()


def take_terminations() -> None:
    """Let SIGTERM end the command with 143.

    The exception that does so is lost where Python ignores exceptions, such as in `__del__`. So it is raised again after
    AGAIN_S, until the command has ended.
    """

    def end(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        sys.exit(143)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGALRM, end)


def end_by_itself() -> None:
    """From now on let Ctrl-C only raise KeyboardInterrupt: the command ends by itself, which may take longer."""
    global _forced
    _forced = False


def _forward_interrupts(main: int | None) -> None:
    assert main is not None  # a thread that runs has an id
    while True:
        signal.sigwait({signal.SIGINT})
        _thread.interrupt_main()
        signal.pthread_kill(main, signal.SIGURG)
        if _forced:
            time.sleep(GRACE_S)
            end_stopped()


def end_stopped() -> None:
    """Print that the command was stopped, and end this process, with 130, and those that it started.

    Threads are not waited for: what they encode may take long, and MindSpore aborts with a trace in an interpreter that shuts
    down. Everything that is written to disk survives a kill at any instant.
    """
    if not _ending.acquire(blocking=False):
        threading.Event().wait()  # the other thread is about to end the process
    try:
        cleanup = Thread(target=_clean_up, daemon=True)
        cleanup.start()
        cleanup.join(CLEANUP_S)  # an interrupted thread may have left a lock held that is needed here
    finally:
        os._exit(130)


def _clean_up() -> None:
    for step in (_kill_children, _print_stopped, _remove_temporary_folders, sys.stdout.flush):
        with contextlib.suppress(Exception):  # nobody may be left to read what is printed
            step()


def _kill_children() -> None:
    """End the processes that multiprocessing started, its resource tracker too: it would warn of what the others leave."""
    if "multiprocessing" not in sys.modules:
        return
    for child in sys.modules["multiprocessing"].active_children():
        child.kill()
    tracker = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
    if (pid := getattr(tracker, "_pid", None)) is not None:
        os.kill(pid, signal.SIGKILL)


def _remove_temporary_folders() -> None:
    for folder in temporary_folders:
        shutil.rmtree(folder, ignore_errors=True)


def _print_stopped() -> None:
    """Print without a lock: the main thread may have been interrupted while it drew a bar, and keep the bar's lock."""
    line_break = "\n" if any(not bar.disable for bar in open_bars) else ""
    os.write(STDERR, f"{line_break}{STOPPED}\n".encode())
