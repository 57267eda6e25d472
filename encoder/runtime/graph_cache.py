"""A guard around MindSpore's compile cache: MindSpore never finds a graph there but the one that it compiles."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mindspore as ms

from encoder.files import sha256_of
from encoder.runtime.graph_files import ENCODER, cache_root
from encoder.runtime.source_digest import code_digest

NETWORK = (
    "captioner_config",
    "config",
    "inputs/regions",
    "network/blocks",
    "network/captioner",
    "network/convolutions",
    "network/entries",
    "network/opt",
    "network/region_stream",
    "network/single_stream",
    "network/text_output",
    "single_stream_config",
)
"""The modules, below `encoder/`, that decide what is compiled. Weights don't: a graph's name has their fingerprint."""

LAYOUT = "2"
"""The version of the layout of a folder of graphs; another layout is in another folder."""

KEPT_FOLDERS = 3
RECORD = "record.json"
TRUSTED = "MS_DEV_FORCE_USE_COMPILE_CACHE"
"""The variable that keeps MindSpore from comparing the sources, which the folder's name and the hashes cover.

MindSpore compares too much: also the command that runs, and every comment.
"""

_NUMBER = re.compile(r"_(\d+)(?=\.)")
_PLAIN = re.compile(r"compile_cache_\{\}\.mindir")
_HASH = "compile_dependency.hash"


class CorruptGraph(Exception):
    """A kept graph is not as it was written."""


class GraphCache:
    """Keeps compiled graphs by name, and hands each to MindSpore only when that graph is compiled.

    MindSpore's own cache is global to the process. It numbers the graphs that are compiled while it is on, takes for each the
    files with its number, whatever they are, and never leaves the first folder that it was given. So it is on only while one
    of our graphs is compiled. Its folder then holds nothing but the files of that graph, under the number that comes next.
    What MindSpore writes there is kept under the graph's name, with its SHA-256. A wrong guess of the number costs a
    compilation, no more. If the program uses MindSpore's cache itself, ours stays off.

    Any failure ends the use of the cache in this process, with one line on standard error.
    """

    def __init__(self, root: Path):
        self._root, self._served, self._kept = root, root / "served", root / "kept"
        self._next, self._ended, self._reported = 0, False, False

    @contextlib.contextmanager
    def holding(self, graph: str) -> Iterator[None]:
        """Use the cache for a `with` that compiles the graph of this name and nothing else. Other processes wait."""
        with contextlib.ExitStack() as stack:
            offered = None
            if self._is_ours():
                offered = self._begin(graph, stack)
            stack.enter_context(_switched(on=offered is not None))
            try:
                yield
            except Exception:
                self._next += offered is not None  # MindSpore has counted it
                raise
            if offered is not None:
                self._collect(graph, offered)

    def give_up(self, problem: object) -> None:
        """Remove what is kept, and compile without the cache from now on: a kept graph failed, or couldn't be written."""
        self._ended = True
        self._forget()
        self._report(_one_line(problem))

    def without(self) -> contextlib.AbstractContextManager[None]:
        """Switch MindSpore's cache off for a `with`: nothing comes from it, and nothing goes to it."""
        return _switched(on=False)

    @property
    def in_use(self) -> bool:
        """True if the next graph may come from the cache."""
        return self._is_ours()

    def _is_ours(self) -> bool:
        """True if nobody else in this process uses MindSpore's cache."""
        others = ms.get_context("enable_compile_cache") or os.environ.get("MS_COMPILER_CACHE_ENABLE") == "1"
        path = ms.get_context("compile_cache_path") or os.environ.get("MS_COMPILER_CACHE_PATH")
        return not (self._ended or others or path not in (None, "", str(self._served)))

    def _begin(self, graph: str, stack: contextlib.ExitStack) -> dict[str, str] | None:
        """Lock the cache and serve the files of the graph; gives their hashes, or None if the cache can't be used."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context((self._root / "lock").open("w")), fcntl.LOCK_EX)
            shutil.rmtree(self._served, ignore_errors=True)
            self._served.mkdir()
            ms.set_context(compile_cache_path=str(self._served))
            return self._serve(graph)
        except OSError as error:
            self._ended = True
            self._report(_one_line(error.strerror or error))
        return None

    def _serve(self, graph: str) -> dict[str, str]:
        """Copy the graph's files to where MindSpore reads, if there are any and they are as they were written."""
        kept = self._kept / graph
        if not kept.is_dir():
            return {}
        try:
            record = _checked(kept)
        except CorruptGraph as problem:
            self._forget()
            self._report(f"{graph} {problem}")
            return {}
        if not all(_PLAIN.search(name) for name in record["files"]) and record["number"] != self._next:
            return {}  # an unknown file, such as a card has, may contain its number
        for name in record["files"]:
            target = self._served / name.format(self._next)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(kept / _flat(name), target)
        return record["files"]

    def _collect(self, graph: str, offered: dict[str, str]) -> None:
        """Keep the files that MindSpore has written, if they are new."""
        try:
            names = {
                path.relative_to(self._served): path
                for path in self._served.rglob("*")
                if path.is_file() and path.name != _HASH
            }
            files = {_NUMBER.sub("_{}", str(name)): path for name, path in names.items()}
            hashes = {name: sha256_of(path) for name, path in files.items()}
            numbers = [int(number) for name in names for number in _NUMBER.findall(name.name)]
            self._next = max(numbers, default=self._next) + 1
            if not hashes:
                self.give_up("MindSpore writes elsewhere")
            elif hashes != offered:
                self._keep(graph, files, {"number": max(numbers, default=0), "files": hashes})
            shutil.rmtree(self._served, ignore_errors=True)
        except OSError as error:
            self.give_up(error.strerror or error)

    def _keep(self, graph: str, files: dict[str, Path], record: dict[str, Any]) -> None:
        new = self._kept / ".new"
        for folder in (new, self._kept / graph):
            shutil.rmtree(folder, ignore_errors=True)
        new.mkdir(parents=True)
        for name, path in files.items():
            shutil.copyfile(path, new / _flat(name))
        (new / RECORD).write_text(json.dumps(record), encoding="utf-8")
        new.rename(self._kept / graph)

    def _forget(self) -> None:
        shutil.rmtree(self._kept, ignore_errors=True)

    def _report(self, problem: str) -> None:
        """Print a problem, once in a process."""
        if not self._reported:
            self._reported = True
            start = "\n" if sys.stderr.isatty() else ""  # on a terminal a progress bar may stand in the line
            print(
                f"{start}The kept graphs in {self._root} can't be used ({problem}): compiling anew.",
                file=sys.stderr,
                flush=True,
            )


@contextlib.contextmanager
def _switched(on: bool) -> Iterator[None]:
    """Switch MindSpore's cache on or off for a `with`, and back afterwards."""
    before = ms.get_context("enable_compile_cache")
    if before is None:
        before = os.environ.get("MS_COMPILER_CACHE_ENABLE") == "1"
    if on == before:
        yield
        return
    trusted = os.environ.get(TRUSTED)
    ms.set_context(enable_compile_cache=on)
    if on:
        os.environ[TRUSTED] = "1"
    try:
        yield
    finally:
        ms.set_context(enable_compile_cache=before)
        if on and trusted is None:
            os.environ.pop(TRUSTED, None)


def _checked(kept: Path) -> dict[str, Any]:
    """Read the record of a kept graph, and check its files.

    Raises:
        CorruptGraph: the record or a file is not as it was written.
    """
    try:
        record = json.loads((kept / RECORD).read_text(encoding="utf-8"))
        right = record["files"] and all(sha256_of(kept / _flat(name)) == digest for name, digest in record["files"].items())
        int(record["number"])
    except FileNotFoundError as error:
        raise CorruptGraph("has lost a file") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptGraph("has no record that can be read") from error
    if not right:
        raise CorruptGraph("is not what was written")
    return record


def _flat(name: str) -> str:
    """A relative path as a file name."""
    return name.replace(os.sep, ",")


def _one_line(problem: object) -> str:
    """The first line of an error; MindSpore's may have a hundred lines."""
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:120]


_process_cache: list[GraphCache] = []


def process_cache(device: str) -> GraphCache:
    """The compile cache of this process: one for all models, since MindSpore numbers its graphs by process."""
    if not _process_cache:
        folder = graph_folder(device)
        remove_old_folders(folder, device)
        _process_cache.append(GraphCache(folder))
    return _process_cache[0]


def graph_folder(device: str) -> Path:
    """The folder in the cache of the graphs that this version compiles for a device."""
    code = code_digest(ENCODER / f"{name}.py" for name in NETWORK)
    return cache_root() / f"{device}-{hashlib.sha256(f'{LAYOUT} {ms.__version__} {code}'.encode()).hexdigest()[:12]}"


def remove_old_folders(used: Path, device: str) -> None:
    """Remove folders of graphs for a device, but for the one in use and the newest of other versions."""
    with contextlib.suppress(OSError):
        used.mkdir(parents=True, exist_ok=True)
        os.utime(used)
        ours = re.compile(f"{device}-[0-9a-f]{{12}}")
        others = [path for path in used.parent.iterdir() if ours.fullmatch(path.name) and path != used]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[KEPT_FOLDERS - 1 :]:
            shutil.rmtree(path, ignore_errors=True)
