"""Builds that a server starts: the command `build-index` itself, in a process of its own, which ends with the server."""

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
PATIENCE_S = 30.0
LONGEST_PROBLEM = 500


@dataclass
class _Build:
    """A process, the run that it is, and what it says on standard error."""

    collection: str
    run_id: int
    process: subprocess.Popen
    said: BinaryIO
    cancelled: bool = False


class CommandBuilds:
    """The `web.editing.Builds` of a home. Thread safe.

    Args:
        options: of `build-index`, for every build, such as ("--model", "opt-v2-base").
        command: what is run with a source and with options.
    """

    def __init__(self, home: Home, options: Sequence[str] = (), command: Sequence[str] = COMMAND):
        self._home, self._options, self._command = home, tuple(options), tuple(command)
        self._changed = Condition()  # nobody waits for a process, a file or the catalog while holding it
        self._beginning = False
        self._latest: _Build | None = None
        self._problem: str | None = None
        self._closed = False

    def start(self, collection: str, source: str) -> int:
        """See `Builds.start`; raises UnusableHome where no process can be started."""
        stored, catalog = self._home.collection(collection), self._home.catalog
        known = catalog.sources(collection)
        if source not in known:
            raise UnknownSource(collection, source, list(known))
        with self._turn():
            check_free(self._home, stored)
            run_id = catalog.announce_run(collection, source)
            build = self._begun(collection, run_id, [source, *source_options(known[source])])
            with self._changed:
                self._problem, self._latest, closed = None, build, self._closed
        Thread(target=self._settle, args=(build,), name=f"build-{run_id}", daemon=True).start()
        if closed:
            build.cancelled = True
            build.process.terminate()
            raise Busy
        return run_id

    def cancel(self, collection: str, run_id: int) -> None:
        """See `Builds.cancel`."""
        run, build = self._home.catalog.run(collection, run_id), self._latest
        if build is not None and build.run_id == run_id and _runs(build):
            build.cancelled = True
            build.process.terminate()
        elif run.state in (STARTING, RUNNING):
            raise NotOurBuild(run_id)
        else:
            raise BuildEnded(run_id, run.state)

    def is_running(self, run_id: int) -> bool:
        """See `Builds.is_running`."""
        build = self._latest
        return build is not None and build.run_id == run_id and _runs(build)

    def problem(self, run_id: int) -> str | None:
        """See `Builds.problem`."""
        return self._problem if self._latest is not None and self._latest.run_id == run_id else None

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Ends what is being built and waits for that; what was encoded stays for the next run."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._beginning, patience_s)
            build = self._latest
        if build is None or not _runs(build):
            return
        build.cancelled = True
        build.process.terminate()
        try:
            build.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            build.process.kill()
            build.process.wait()
        self._note_end(build)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Nobody else begins a build meanwhile. Raises BuildRunning, and Busy where this is closed."""
        self._wait_for_ending()
        with self._changed:
            self._changed.wait_for(lambda: not self._beginning)
            if self._closed:
                raise Busy
            if self._latest is not None and _runs(self._latest):
                raise BuildRunning(self._latest.collection, self._latest.run_id)
            self._beginning = True
        try:
            yield
        finally:
            with self._changed:
                self._beginning = False
                self._changed.notify_all()

    def _wait_for_ending(self) -> None:
        """Waits for a build whose run has ended, for a process takes a moment to take itself down."""
        build = self._latest
        if build is None or self._home.catalog.run(build.collection, build.run_id).state in (STARTING, RUNNING):
            return
        with suppress(subprocess.TimeoutExpired):
            build.process.wait(PATIENCE_S)

    def _begun(self, collection: str, run_id: int, arguments: list[str]) -> _Build:
        said = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the build
        own = ["--announced", str(run_id), "--home", str(self._home.path), "--collection", collection, "--json"]
        try:
            process = subprocess.Popen(
                [*self._command, *arguments, *own, *self._options], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=said, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            said.close()
            self._home.catalog.finish_run(run_id, FAILED)
            raise unusable(self._home.path, error) from error
        return _Build(collection, run_id, process, said)

    def _settle(self, build: _Build) -> None:
        """Waits for the end, and notes what a process that was killed could not."""
        code = build.process.wait()
        problem = None if build.cancelled or code in (READ_ALL, SOME_UNREADABLE) else _last_words(build.said, code)
        build.said.close()
        with self._changed:
            if self._latest is build:
                self._problem = problem
        self._note_end(build)

    def _note_end(self, build: _Build) -> None:
        with suppress(CatalogError):  # nobody is left to tell; the next run puts it right
            if self._home.catalog.run(build.collection, build.run_id).state in (STARTING, RUNNING):
                killed = build.cancelled or build.process.returncode < 0
                self._home.catalog.finish_run(build.run_id, INTERRUPTED if killed else FAILED)


def source_options(told: dict) -> list[str]:
    """The options of `build-index` that open a source as it was opened before, of what `Catalog.sources` says of it."""
    options = ["--format", told["format"]] if told["format"] else []
    options += [part for file in told["captions"] for part in ("--captions", file)]
    options += [part for language in told["languages"] for part in ("--lang", language)]
    options += ["--limit", str(told["limit"])] if told["limit"] else []
    return [*options, "--keep-missing"] if told["keep_missing"] else options


def check_free(home: Home, collection: Collection) -> None:
    """Raises CollectionBusy where another writes (who begins just after this is found by the writing itself), and UnfinishedRun
    where a rebuild was interrupted, whose work any other run would drop."""
    try:
        with locked(collection.folder):
            lost = images_of_interrupted_rebuild(collection)
    except BrokenManifest:
        return  # as whoever writes will say
    except OSError as error:
        raise unusable(home.path, error) from error
    if lost:
        raise UnfinishedRun(collection.name, lost)


def _runs(build: _Build) -> bool:
    return build.process.poll() is None


def _last_words(said: BinaryIO, code: int) -> str:
    """The line that says what is wrong, as commands print it, or else the last one."""
    said.seek(0)
    lines = [line.strip() for line in said.read().decode("utf-8", "replace").splitlines() if line.strip()]
    wrong = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    last = (wrong or lines or ["it said nothing"])[-1]
    return last[:LONGEST_PROBLEM] if wrong else f"The build ended with {code}: {last}"[:LONGEST_PROBLEM]
