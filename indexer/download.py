"""Downloads data sets as they are distributed. A download can be interrupted and continued; files are checked and unpacked."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import DownloadFailed, UnusableArchive

COCO_SERVER = "http://images.cocodataset.org"
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60
ATTEMPTS = 6
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Archive:
    """A zip file on a server, and the members to unpack from it.

    Attributes:
        path: the file's path below the server's address.
        sha1: the SHA-1 of the whole file, in hex.
        wanted: how the names of the members to unpack begin.
        count: the number of these members.
    """

    path: str
    sha1: str
    wanted: str
    count: int

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]


def _coco(split: str, sha1: str, count: int) -> list[Archive]:
    annotations = "8551ee4bb5860311e79dace7e79cb91e432e78b3"
    return [
        Archive(f"zips/{split}.zip", sha1, f"{split}/", count),
        Archive("annotations/annotations_trainval2017.zip", annotations, f"annotations/captions_{split}.json", 1),
    ]


# The SHA-1 sums are those that GluonCV publishes.
DATASETS = {
    "coco-val2017": _coco("val2017", "4950dc9d00dbe1c933ee0170f5797584351d2a41", 5000),
    "coco-train2017": _coco("train2017", "10ad623668ab00c62c096f0ed636d6aff41faca5", 118_287),
}


def download(archives: list[Archive], folder: Path, server: str = COCO_SERVER, progress: Progress | None = None) -> None:
    """Download the archives and unpack their wanted files into `folder`. A second call continues where the first stopped.

    Args:
        archives: what to fetch.
        folder: where the files go; made if it does not exist.
        server: the address that the archives' paths are below.
        progress: called with (stage, done, total): megabytes of an archive, or files unpacked from it.

    Raises:
        DownloadFailed: a file can't be fetched or written.
        UnusableArchive: an archive isn't what it should be.
    """
    progress = progress or (lambda stage, done, total: None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for archive in archives:
            if _count_present(folder, archive) == archive.count:
                continue
            file = folder / archive.name
            if not file.exists():
                _fetch(f"{server.rstrip('/')}/{archive.path}", file, progress)
            _check(file, archive)
            _unpack(file, archive, folder, progress)
            file.unlink()
    except OSError as error:
        raise DownloadFailed(folder, error.strerror or str(error), "mend that") from error


def _count_present(folder: Path, archive: Archive) -> int:
    """Count the wanted files that exist. A file gets its name only when it is complete."""
    if not archive.wanted.endswith("/"):
        return int((folder / archive.wanted).is_file())
    if not (folder / archive.wanted).is_dir():
        return 0
    return sum(not name.startswith(".") for name in os.listdir(folder / archive.wanted))


def _fetch(url: str, file: Path, progress: Progress) -> None:
    """Download `url` to `file`, with retries. What was fetched so far is in `file.part`."""
    part, failed = file.with_name(file.name + ".part"), 0
    while True:
        before = _size(part)
        try:
            if _fetch_rest(url, part, lambda done, total: progress(file.name, done // 10**6, total // 10**6)):
                break
            problem = "the connection ended early"
        except urllib.error.HTTPError as error:
            problem = f"the server answers {error.code} {error.reason}"
            if error.code == 416:  # the part is complete, or belongs to another file
                if error.headers.get("Content-Range") == f"bytes */{before}":
                    break
                part.unlink()
                continue
            if error.code < 500 and error.code != 429:
                raise DownloadFailed(url, problem) from error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        failed = 0 if _size(part) > before else failed + 1
        if failed >= ATTEMPTS:
            raise DownloadFailed(url, problem)
        time.sleep(min(2**failed - 1, 30))
    part.with_name(part.name + ".tag").unlink(missing_ok=True)
    os.replace(part, file)


def _fetch_rest(url: str, part: Path, progress: Callable[[int, int], None]) -> bool:
    """Fetch what is missing of `part`. It starts over if the server's file changed or the server can't continue.

    Args:
        url: the file.
        part: what was fetched so far.
        progress: called with (bytes done, bytes in total).

    Returns:
        True if `part` is complete.
    """
    tag, have = part.with_name(part.name + ".tag"), _size(part)
    headers = {"Range": f"bytes={have}-"} if have else {}
    if headers and tag.exists() and (known := tag.read_text()):
        headers["If-Range"] = known
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # nosec B310 # whoever runs the command names the server
        continued = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if continued else 0
        total = have + int(answer.headers.get("Content-Length", 0))
        _make_room(part, total - have)
        tag.write_text(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
        with open(part, "ab" if continued else "wb") as out:
            while piece := answer.read(CHUNK_BYTES):
                out.write(piece)
                have += len(piece)
                progress(have, total)
    return have >= total


def _make_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise DownloadFailed(part.parent, f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free", "make room")


def _check(file: Path, archive: Archive) -> None:
    with open(file, "rb") as content:
        found = hashlib.file_digest(content, "sha1").hexdigest()
    if found != archive.sha1:
        file.unlink()
        raise UnusableArchive(archive.name, f"its SHA-1 is {found}, not {archive.sha1}; it was removed")


def _unpack(file: Path, archive: Archive, folder: Path, progress: Progress) -> None:
    """Unpack the wanted files. zipfile checks each against its checksum, and each gets its name only when it is complete."""
    try:
        with zipfile.ZipFile(file) as content:
            wanted = [one for one in content.infolist() if one.filename.startswith(archive.wanted) and not one.is_dir()]
            if any(".." in Path(one.filename).parts for one in wanted):
                raise UnusableArchive(archive.name, "it would write outside its folder")
            if len(wanted) != archive.count:
                raise UnusableArchive(archive.name, f"it holds {len(wanted)} of {archive.count} files")
            for done, member in enumerate(wanted, 1):
                _extract(content, member, folder / member.filename)
                progress(f"unpacking {file.name}", done, len(wanted))
    except (zipfile.BadZipFile, EOFError) as error:
        raise UnusableArchive(archive.name, f"it is damaged ({error})") from error


def _extract(content: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    if _size(target) == member.file_size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    with content.open(member) as source, open(temporary, "wb") as out:
        shutil.copyfileobj(source, out, CHUNK_BYTES)
    os.replace(temporary, target)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
