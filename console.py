"""What the commands share: the options they take alike, how they print, and how they end."""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from threading import Thread

import click

MODES = click.Choice(["vector", "lexical", "hybrid"])
FORMATS = click.Choice(["coco", "manifest", "folder", "regions", "webdataset"])
HOME = click.option("--home", type=click.Path(path_type=Path), envvar="PANOPTES_HOME", default=Path("var"),
                    show_default=True, help="Where collections, models and the catalog are kept (or PANOPTES_HOME).")
COLLECTION = click.option("--collection", default="default", show_default=True, help="The collection's name.")
MODEL = click.option("--model", metavar="NAME", help="The model: a name that `model list` gives, or a model folder "
                     "(default: PANOPTES_MODEL, or the shipped one).")
RERANKER = click.option("--reranker", metavar="NAME", help="A second model, to re-rank what the first one finds. An index "
                        "serves the two that it was built with (default: the first itself).")
HOST = click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
PORT = click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="The port to listen on.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

STDIN, STDERR = 0, 2
STOPPED = "Stopped. What was published is as it was; run the same command to go on."
TIDYING_S = 5
"""So long a command that was stopped may take to end the processes it started and to remove what it keeps for a moment."""
PATIENCE_S = 0.5
"""So long a command may take to end by itself when it was stopped; a batch that is being encoded takes longer."""

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


class Panoptes(click.Group):
    """Prints the one line of an error that Panoptes raised on purpose, and exits with 2."""

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            end_stopped()
        except Exception as error:
            if not _is_ours(error):
                raise
            click.echo(_printable(f"Error: {error}"), err=True)
            context.exit(2)


def _is_ours(error: Exception) -> bool:
    """Whether a room raised it on purpose; a room that was never imported cannot have."""
    rooms = {"encoder": "EncoderError", "storage": "StorageError", "indexer": "IndexerError", "search": "SearchError",
             "web": "WebError"}
    return any(isinstance(error, getattr(sys.modules[f"{room}.errors"], base))
               for room, base in rooms.items() if f"{room}.errors" in sys.modules)


_ending = threading.Lock()
_bars: list = []
_temporary: list[Path] = []
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
    for folder in _temporary:
        shutil.rmtree(folder, ignore_errors=True)


def _say_stopped() -> None:
    """Say it without a lock: the main thread may have been interrupted while it drew a bar, and keep the bar's lock."""
    below = "\n" if any(not shown.disable for shown in _bars) else ""
    os.write(STDERR, f"{below}{STOPPED}\n".encode())


def allow_many_files() -> None:
    """Raise the number of files that may be open to what the system allows: a segment takes four."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def bar(unit: str, quiet: bool = False):
    """A callable (stage, done, total) that draws a progress bar with rate and time left on standard error.

    Nothing is drawn before the first call: what is refused is one line.
    """
    from tqdm import tqdm

    shown = None

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal shown
        if stage == "publish":  # seconds at most, and a bar of photos would show a wrong rate
            return
        if shown is None:
            shown = tqdm(unit=f" {unit}", disable=quiet, dynamic_ncols=True, file=sys.stderr)
            _bars.append(shown)
        shown.total = total
        shown.set_description(stage, refresh=False)
        shown.update(done - shown.n)

    try:
        yield progress
    finally:
        if shown is not None:
            shown.close()
            _bars.remove(shown)


@contextlib.contextmanager
def temporary_folder(home: Path):
    """A folder inside the home, where there is room for an index, gone afterwards."""
    from storage.errors import UnusableHome

    try:
        home.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="evaluate-", dir=home)
    except OSError as error:
        raise UnusableHome(home, error.strerror) from error
    with folder as name:
        _temporary.append(Path(name))
        yield Path(name)


def integers(text: str, option: str) -> list[int]:
    """Whole numbers from 0 upwards, comma-separated."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise click.BadParameter(f"{text!r} is not a list of whole numbers such as 0,32", param_hint=option)
    return [int(part) for part in parts]


def say(value: dict, lines, as_json: bool) -> None:
    """Print a command's answer: as JSON, or as the lines that `lines` makes of it."""
    if as_json:
        click.echo(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        print_lines(lines(value))


def print_lines(lines, err: bool = False) -> None:
    """One line after the other."""
    for line in lines:
        click.echo(_printable(line), err=err)


def _printable(line: str) -> str:
    """A line as a terminal can print it, which a file's name in it may try to steer, or not be text at all."""
    return line.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode("utf-8")


def models_of(home: Path):
    """The models of a home."""
    from encoder.models import Models

    return Models.of_home(home)


def chosen_models(home: Path, model: str | None, reranker: str | None):
    """The model that was chosen, and the re-ranker beside it, not yet opened."""
    from encoder.chosen import Chosen

    models = models_of(home)
    return Chosen(models.chosen(model), models.chosen(reranker) if reranker else None)


@contextlib.contextmanager
def naming_models(home: Path):
    """Where an index was made by other models of the home, the error names them."""
    from search import StaleIndex

    try:
        yield
    except StaleIndex as error:
        raise StaleIndex(error.made_by, error.in_use, models_of(home).made_by(error.made_by)) from error


def model_options(model: str | None, reranker: str | None) -> list[str]:
    """The options that choose these models, for another command."""
    return [*(["--model", model] if model else []), *(["--reranker", reranker] if reranker else [])]


def index_source(source, limit, rebuild, workers, home, collection, encoder, quiet=False, **options):
    """Index a source that is open, with a progress bar."""
    from indexer import build_index as build

    with bar("photos", quiet) as progress:
        return build(home, collection, source, encoder, limit=limit, rebuild=rebuild, workers=workers, progress=progress,
                     **options)


def print_summary(summary, collection: str) -> None:
    """What an index run did."""
    from indexer.report import summary_lines

    print_lines(summary_lines(summary, collection))
    print_failures(summary)


def print_failures(summary) -> None:
    """What it could not read."""
    from indexer.report import failure_lines

    print_lines(failure_lines(summary), err=True)


def exit_without_images(summary) -> None:
    """End with 2 where a run left the collection empty."""
    if not summary.images:
        click.echo(f"Error: none of the {len(summary.failures)} photos could be read; mend them or name another source.",
                   err=True)
        sys.exit(2)


def exit_with_failures(summary) -> None:
    """End with 3 where something could not be read."""
    exit_without_images(summary)
    if summary.failures:
        sys.exit(3)


def end_with_parent() -> None:
    """End this process, as SIGTERM does, when whoever started it lets go of its standard input, be it by dying."""
    def watch() -> None:
        while os.read(STDIN, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, name="watch-parent", daemon=True).start()
