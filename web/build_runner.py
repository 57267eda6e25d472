"""Runs the builds that a server starts: the command `build-index` itself, in a process that ends with the server."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import BinaryIO

from storage import Collection, Home
from storage.catalog.catalog import FAILED, INTERRUPTED, RUNNING, STARTING
from storage.errors import BrokenManifest, CatalogError, UnfinishedRun, unusable
from storage.locking import locked
from storage.maintenance import images_of_interrupted_rebuild
from web.errors import BuildEnded, BuildRunning, Busy, NotOurBuild, UnknownSource

COMMAND = (sys.executable, str(Path(__file__).parents[1] / "manage.py"), "build-index")
READ_ALL, SOME_UNREADABLE = 0, 3
"""The exit codes of a build that published what it could read."""
STOP_TIMEOUT_S = 30.0
LONGEST_PROBLEM = 500


@dataclass
class _Build:
    """A process, its run in the catalog, and the file that its standard error goes to."""

    collection: str
    run_id: int
    process: subprocess.Popen
    stderr: BinaryIO
    cancelled: bool = False


class CommandBuilds:
    """The `web.editing.Builds` of a home. Thread safe.

    Args:
        home: The home whose collections are built.
        options: Options of `build-index` for every build, such as ("--model", "opt-v2-base").
        command: The command that gets a source and the options.
    """

    def __init__(self, home: Home, options: Sequence[str] = (), command: Sequence[str] = COMMAND) -> None:
        self._home, self._options, self._command = home, tuple(options), tuple(command)
        self._changed = Condition()  # never held while waiting for a process, a file or the catalog
        self._starting = False
        self._latest: _Build | None = None
        self._problem: str | None = None
        self._closed = False

    def start(self, collection: str, source: str) -> int:
        """See `Builds.start`.

        Raises:
            UnusableHome: No process can be started.
        """
        stored, catalog = self._home.collection(collection), self._home.catalog
        known = catalog.sources(collection)
        if source not in known:
            raise UnknownSource(collection, source, list(known))
        with self._exclusive_start():
            check_free(self._home, stored)
            run_id = catalog.announce_run(collection, source)
            build = self._spawn(collection, run_id, [source, *source_options(known[source])])
            with self._changed:
                self._problem, self._latest, closed = None, build, self._closed
        Thread(target=self._wait_and_record, args=(build,), name=f"build-{run_id}", daemon=True).start()
        if closed:
            build.cancelled = True
            build.process.terminate()
            raise Busy
        return run_id

    def cancel(self, collection: str, run_id: int) -> None:
        """See `Builds.cancel`."""
        run, build = self._home.catalog.run(collection, run_id), self._latest
        if build is not None and build.run_id == run_id and _is_alive(build):
            build.cancelled = True
            build.process.terminate()
        elif run.state in (STARTING, RUNNING):
            raise NotOurBuild(run_id)
        else:
            raise BuildEnded(run_id, run.state)

    def is_running(self, run_id: int) -> bool:
        """See `Builds.is_running`."""
        build = self._latest
        return build is not None and build.run_id == run_id and _is_alive(build)

    def problem(self, run_id: int) -> str | None:
        """See `Builds.problem`."""
        return self._problem if self._latest is not None and self._latest.run_id == run_id else None

    def close(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the running build and wait for that. What was encoded stays for the next run."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._starting, timeout_s)
            build = self._latest
        if build is None or not _is_alive(build):
            return
        build.cancelled = True
        end_process(build.process, timeout_s)
        self._record_end(build)

    @contextmanager
    def _exclusive_start(self) -> Iterator[None]:
        """Let no other thread start a build meanwhile.

        Raises:
            BuildRunning: A build goes on.
            Busy: This is closed.
        """
        self._wait_for_ending()
        with self._changed:
            self._changed.wait_for(lambda: not self._starting)
            if self._closed:
                raise Busy
            if self._latest is not None and _is_alive(self._latest):
                raise BuildRunning(self._latest.collection, self._latest.run_id)
            self._starting = True
        try:
            yield
        finally:
            with self._changed:
                self._starting = False
                self._changed.notify_all()

    def _wait_for_ending(self) -> None:
        """Wait for the process of a build whose run has ended: it takes a moment to exit."""
        build = self._latest
        if build is None or self._home.catalog.run(build.collection, build.run_id).state in (STARTING, RUNNING):
            return
        with suppress(subprocess.TimeoutExpired):
            build.process.wait(STOP_TIMEOUT_S)

    def _spawn(self, collection: str, run_id: int, arguments: list[str]) -> _Build:
        stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the build
        own = ["--announced", str(run_id), "--home", str(self._home.path), "--collection", collection, "--json"]
        try:
            process = subprocess.Popen(
                [*self._command, *arguments, *own, *self._options], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=stderr, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            stderr.close()
            self._home.catalog.finish_run(run_id, FAILED)
            raise unusable(self._home.path, error) from error
        return _Build(collection, run_id, process, stderr)

    def _wait_and_record(self, build: _Build) -> None:
        """Wait for the end, and record what a process that was killed could not."""
        code = build.process.wait()
        problem = None if build.cancelled or code in (READ_ALL, SOME_UNREADABLE) else _problem_of(build.stderr, code)
        build.stderr.close()
        with self._changed:
            if self._latest is build:
                self._problem = problem
        self._record_end(build)

    def _record_end(self, build: _Build) -> None:
        with suppress(CatalogError):  # nobody is left to tell; the next run puts it right
            if self._home.catalog.run(build.collection, build.run_id).state in (STARTING, RUNNING):
                killed = build.cancelled or build.process.returncode < 0
                self._home.catalog.finish_run(build.run_id, INTERRUPTED if killed else FAILED)


def end_process(process: subprocess.Popen, timeout_s: float) -> None:
    """End a process and wait for that; kill it if it takes longer. What it encoded stays for the next run."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def source_options(recorded: dict) -> list[str]:
    """The options of `build-index` that open a source as before, from what `Catalog.sources` recorded of it."""
    options = ["--format", recorded["format"]] if recorded["format"] else []
    options += [part for file in recorded["captions"] for part in ("--captions", file)]
    options += [part for language in recorded["languages"] for part in ("--lang", language)]
    for name in ("image_column", "caption_column"):
        options += [f"--{name.replace('_', '-')}", recorded[name]] if recorded.get(name) else []
    options += [part for pattern in recorded.get("exclude", ()) for part in ("--exclude", pattern)]
    options += ["--limit", str(recorded["limit"])] if recorded["limit"] else []
    return [*options, "--keep-missing"] if recorded["keep_missing"] else options


def check_free(home: Home, collection: Collection) -> None:
    """Check that a collection can be written to now. A writer that begins just after this is found by the writing itself.

    Raises:
        CollectionBusy: Another process writes to it.
        UnfinishedRun: A rebuild was interrupted, and any other run would drop its work.
        UnusableHome: Its files can't be read.
    """
    try:
        with locked(collection.folder):
            lost = images_of_interrupted_rebuild(collection)
    except BrokenManifest:
        return  # the writer will say so
    except OSError as error:
        raise unusable(home.path, error) from error
    if lost:
        raise UnfinishedRun(collection.name, lost)


def _is_alive(build: _Build) -> bool:
    return build.process.poll() is None


def _problem_of(stderr: BinaryIO, code: int) -> str:
    """The error line of a command's standard error; if there is none, the exit code and the last line."""
    stderr.seek(0)
    lines = [line.strip() for line in stderr.read().decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    last = (errors or lines or ["it said nothing"])[-1]
    return last[:LONGEST_PROBLEM] if errors else f"The build ended with {code}: {last}"[:LONGEST_PROBLEM]
