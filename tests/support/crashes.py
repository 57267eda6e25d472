"""Commands that end at a chosen instant, and what is left; `python -m tests.support.crashes FOLDER COMMAND HOW FIRST STEP`.

Every step of writing is an event: each open for writing, rename, removal and new folder in the home, each fsync, each half of
a write to a journal, a token file or an index file, each file that a library writes, and each transaction of the catalog. A
process is forked for each chosen event. COMMAND is "build", "compact" or "caption". HOW "kill" ends it there with SIGKILL,
"full" has the disk refuse from there on. Then the command is run again, undisturbed. What is printed, as JSON, says for each
event what readers saw and what the second run did.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import time
from pathlib import Path

import pyarrow.parquet

import indexer.captioning
import indexer.segment_filler
import storage.segments.journal
import storage.segments.token_file
import storage.vector_index.flat_file
import storage.waiting_files
from indexer import build_index, open_source
from indexer.captioning import Wanted, write_captions
from storage import Catalog, Home
from storage.errors import StorageError
from storage.maintenance import compact, delete_images
from storage.verification import verify
from tests.support.captioners import ColourWriter
from tests.support.fakes import FakeEncoder, save_photo
from tests.support.storage_examples import damaged_segments

KILL, FULL = "kill", "full"
BATCH = 3
AUDITED = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
TRANSACTIONS = ("start_run", "finish_run", "record_files", "record_version", "forget_files")


class Shared:
    """Numbers that a forked process writes and its parent reads."""

    def __init__(self):
        self._memory = mmap.mmap(-1, 16)

    def __getitem__(self, place: int) -> int:
        return struct.unpack_from("<q", self._memory, 8 * place)[0]

    def __setitem__(self, place: int, value: int) -> None:
        struct.pack_into("<q", self._memory, 8 * place, value)


EVENTS, ENCODED = 0, 1
shared = Shared()


class CountingEncoder(FakeEncoder):
    """Counts photos where they can still be counted after a kill."""

    def encode_images(self, images):
        shared[ENCODED] += len(images)
        return super().encode_images(images)


def make_photos(folder: Path, numbers, tint: int = 0) -> None:
    for number in numbers:
        save_photo(folder / f"{number}.png", (number * 11, 40 + tint, 250 - number * 11), (12, 8))
        (folder / f"{number}.txt").write_text(f"photo {number}\nagain {number}\n第{number}张")


def prepare(folder: Path) -> None:
    """A home with published versions, and photos that have changed in every way since then."""
    photos = folder / "photos"
    make_photos(photos, range(7))
    build(folder)
    delete_images(Home(folder / "home"), "walls", [1])
    shutil.copytree(folder / "home", folder / "before")
    make_photos(photos, range(7, 17))
    make_photos(photos, [2], tint=99)
    (photos / "3.txt").write_text("another caption")
    (photos / "4.png").rename(photos / "moved.png")
    (photos / "5.png").unlink()
    shutil.copy(photos / "6.png", photos / "copy.png")
    (photos / "bad.png").write_text("no photo")


def build(folder: Path):
    source = open_source(folder / "photos")
    return build_index(Home(folder / "home"), "walls", source, CountingEncoder(), workers=0, missing="drop")


def compacted(folder: Path):
    compact(Home(folder / "home"), "walls", keep=1)
    return Home(folder / "home").collection("walls").manifest


def captioned(folder: Path):
    write_captions(Home(folder / "home"), "walls", FakeEncoder(), ColourWriter(), Wanted())
    return Home(folder / "home").collection("walls").manifest


ACTS = {"build": build, "compact": compacted, "caption": captioned}


def content(folder: Path) -> str:
    """A hash of all that readers see, and of what the manifest says besides."""
    collection = Home(folder / "home").collection("walls")
    snapshot, manifest = collection.open_snapshot(), collection.manifest
    assert damaged_segments(collection) == {}
    ids, captions = snapshot.image_ids(), snapshot.caption_ids()
    found = snapshot.image_index.search(snapshot.image_vectors(ids), 3)
    seen = [
        ids.tolist(),
        snapshot.images(ids),
        snapshot.image_vectors(ids).tobytes(),
        snapshot.tokens(ids).tobytes(),
        [snapshot.thumbnail(id) for id in ids],
        snapshot.captions(captions),
        snapshot.caption_vectors(captions).tobytes(),
        [array.tobytes() for array in found],
        snapshot.caption_index.count,
        manifest.tombstones,
        manifest.next_image_id,
        manifest.next_caption_id,
        manifest.version,
        manifest.images,
        manifest.change,
    ]
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def forked(act) -> object:
    """What `act` returns, as JSON, in a process of its own; None where that was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.write(writer, json.dumps(act()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return json.loads(said) if said else None


def disturbed(folder: Path, act, how: str, at: int) -> str:
    """Run until the event number `at`, or to the end; how it ended."""
    watch(str(folder / "home"), how, at)
    try:
        act(folder)
    except StorageError as error:
        return f"{type(error).__name__}: {error}"
    return "done"


def watch(home: str, how: str, at: int) -> None:
    """Count events and act at the one numbered `at`."""

    def event(*_):
        shared[EVENTS] += 1
        if how == KILL and shared[EVENTS] == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if how == FULL and shared[EVENTS] >= at:
            raise OSError(errno.ENOSPC, "No space left on device")

    def audit(name, arguments):
        path = str(arguments[0]) if arguments else ""
        writing = name == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wa+x")
        if (writing or (name in AUDITED and how == KILL)) and path.startswith(home):
            event()

    class Torn:
        """A file that can be caught in the middle of a write."""

        def __init__(self, file):
            self._file = file

        def write(self, content):
            half = len(content) // 2
            self._file.write(content[:half])
            self._file.flush()
            event()
            self._file.write(content[half:])

        def __getattr__(self, name):
            return getattr(self._file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

    def around(owner, name):
        original = getattr(owner, name)

        def wrapped(*arguments, **named):
            if owner is not Catalog or how == KILL:
                event()
            answer = original(*arguments, **named)
            if how == KILL:
                event()
            return answer

        setattr(owner, name, wrapped)

    sys.addaudithook(audit)
    around(os, "fsync")
    around(pyarrow.parquet, "write_table")
    for name in TRANSACTIONS:
        around(Catalog, name)

    def torn(path, mode):
        file = open(path, mode)  # noqa: SIM115
        return file if mode == "rb" else Torn(file)

    for module in (storage.vector_index.flat_file, storage.segments.journal, storage.segments.token_file):
        module.open = torn


def report(folder: Path, act, how: str, at: int) -> dict:
    """Disturb a run at an event, look, run again, look again."""
    shutil.rmtree(folder / "home")
    shutil.copytree(folder / "before", folder / "home")
    shared[EVENTS] = shared[ENCODED] = 0
    ended = forked(lambda: disturbed(folder, act, how, at))
    return {"at": at, "ended": ended, **forked(lambda: look_and_go_on(folder, act)), "encoded": shared[ENCODED]}


def look_and_go_on(folder: Path, act) -> dict:
    """What readers see, a run that nothing disturbs, and what they see then."""
    seen = content(folder)
    version = act(folder).version
    left = [str(path) for path in (folder / "home").rglob("*") if ".tmp-" in path.name or path.suffix == ".journal"]
    wrong = verify(Home(folder / "home"), "walls")["problems"]
    return {"seen": seen, "version": version, "finally": content(folder), "left": left, "wrong": wrong}


def at_random_times(folder: Path, seed: int, times: int) -> list[dict]:
    """As `report`, at instants that a clock chooses, over and over on the same home until a run ends."""
    random.seed(seed)
    reports = []
    for _ in range(times):
        shutil.rmtree(folder / "home")
        shutil.copytree(folder / "before", folder / "home")
        seen = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                build(folder)
                os._exit(0)
            time.sleep(random.uniform(0.0, 0.25))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            seen.append(forked(lambda: content(folder)))
        reports.append({"all_seen": seen, **forked(lambda: look_and_go_on(folder, build))})
    return reports


def main(folder: Path, command: str, how: str, first: int, step: int) -> dict:
    indexer.segment_filler.IMAGE_BATCH, indexer.segment_filler.TEXT_BATCH, indexer.segment_filler.SEGMENT_IMAGES = (
        BATCH,
        4,
        2 * BATCH,
    )
    indexer.captioning.PHOTOS_AT_ONCE, storage.waiting_files.ABANDONED_S = BATCH, 0
    forked(lambda: prepare(folder))
    act, before = ACTS[command], forked(lambda: content(folder))
    whole = report(folder, act, KILL if how == "random" else how, 10**9)
    answer = {"before": before, "whole": whole, "events": shared[EVENTS]}
    if how == "random":
        return answer | {"runs": at_random_times(folder, first, step)}
    return answer | {"runs": [report(folder, act, how, at) for at in range(first, answer["events"] + 1, step)]}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))))
