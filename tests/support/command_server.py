"""A Python that has imported what the commands import, and forks a process for each command that it is sent."""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]
MODULES = (
    "encoder.importing.importer",
    "encoder.report",
    "encoder.runtime.encoder",
    "encoder.runtime.multi_device",
    "encoder.runtime.reranker",
    "encoder.selection",
    "indexer.build",
    "indexer.gallery",
    "indexer.report",
    "indexer.upkeep",
    "manage",
    "search.engine",
    "search.evaluation.evaluate",
    "search.evaluation.exports",
    "search.evaluation.hubness",
    "storage.maintenance",
    "storage.repair",
    "storage.verification",
    "web.app",
)
"""None of them starts a Python thread, which would not outlive a fork; so never mindspore."""


class CommandServer:
    """The other side of `main`, which runs in a process of its own. May be used by several threads."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())], cwd=ROOT, pass_fds=[theirs.fileno()]
            )

    def run(self, arguments: list[str], environment: dict[str, str], seconds: float) -> subprocess.CompletedProcess:
        """`python manage.py ARGUMENTS`, in a process of its own with this environment."""
        answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pipes = [os.pipe() for _ in range(2)]
        request = json.dumps({"arguments": arguments, "environment": environment}).encode()
        socket.send_fds(self._requests, [request], [theirs.fileno(), *(end for _, end in pipes)])
        theirs.close()
        for _, end in pipes:
            os.close(end)
        with answers:
            answers.settimeout(seconds)
            pid = int(answers.recv(32) or self._ended())
            late = threading.Event()
            timer = threading.Timer(seconds, lambda: (late.set(), os.killpg(pid, signal.SIGKILL)))
            timer.start()
            try:
                said = _all_of([start for start, _ in pipes])
                status = int(answers.recv(32) or self._ended())
            finally:
                timer.cancel()
        if late.is_set():
            raise subprocess.TimeoutExpired(["manage.py", *arguments], seconds, *said)
        return subprocess.CompletedProcess(["manage.py", *arguments], os.waitstatus_to_exitcode(status), *said)

    def _ended(self) -> NoReturn:
        raise RuntimeError(f"The command server has ended ({self._process.wait(10)}): see what it printed.")


def _all_of(pipes: list[int]) -> list[str]:
    """What comes out of several pipes until nobody writes to them any more."""
    said = [""] * len(pipes)

    def read(number: int) -> None:
        with open(pipes[number], encoding="utf-8") as file:
            said[number] = file.read()

    readers = [threading.Thread(target=read, args=(number,)) for number in range(len(pipes))]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return said


def main(requests: socket.socket) -> None:
    """Fork for each request, until nobody is there to send one."""
    for name in MODULES:
        __import__(name)
    gc.freeze()
    assert threading.active_count() == 1
    while True:
        message, files, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        if not message:
            return
        if os.fork() == 0:
            requests.close()
            _answer(json.loads(message), *files)
        for file in files:
            os.close(file)
        _reap()


def _answer(request: dict, answers: int, out: int, err: int) -> NoReturn:
    """Fork once more: this process tells the number of the other one, and how that ended."""
    child = os.fork()
    if child:
        os.close(out)
        os.close(err)
        os.write(answers, str(child).encode())
        os.write(answers, str(os.waitpid(child, 0)[1]).encode())
        os._exit(0)
    os.close(answers)
    os.setsid()  # so that it can be ended with the processes that it starts
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, max(out, err) + 1)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["manage.py", *request["arguments"]]
    _run()


def _run() -> NoReturn:
    """Run manage.py to its end, and end without taking apart what was imported, which takes half a second."""
    code = 0
    try:
        runpy.run_path("manage.py", run_name="__main__")
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _reap() -> None:
    """Take note of those that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
