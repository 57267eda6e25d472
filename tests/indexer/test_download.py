"""Tests of downloads, from a test server that breaks connections, changes files and refuses requests."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import indexer.download
from indexer import open_source
from indexer.download import DATASETS, Archive, download
from indexer.errors import DownloadFailed, UnusableArchive
from tests.support.commands import manage
from tests.support.fakes import jpeg


class Server(ThreadingHTTPServer):
    """Serves `files` by path, with Range.

    `breaks` are the numbers of bytes after which the next answers break off, `refusals` the status codes that come first.
    `requested` has every range that was requested.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.refusals: list[int] = []
        self.requested: list[str | None] = []
        self.ranges = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, content = self.server, self.server.files.get(self.path.lstrip("/"))
        if content is None or server.refusals:
            return self.send_error(server.refusals.pop(0) if server.refusals else 404)
        server.requested.append(self.headers.get("Range"))
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        start = self._start() if server.ranges and self.headers.get("If-Range", tag) == tag else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(content[start:][: server.breaks.pop(0) if server.breaks else None])

    def _start(self):
        return int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))

    def log_message(self, *anything):
        pass


def zip_of(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


NOISE = {f"val2017/{number:012d}.jpg": jpeg((number, 9, 9)) + np.random.default_rng(number).bytes(5000) for number in range(9)}
CAPTIONS = b'{"images": [{"id": 1, "file_name": "000000000001.jpg"}], "annotations": [{"image_id": 1, "caption": "a dog"}]}'
PHOTOS = zip_of(NOISE)
ANNOTATIONS = zip_of({"annotations/captions_val2017.json": CAPTIONS, "annotations/instances_val2017.json": b"{}"})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(indexer.download.time, "sleep", lambda seconds: None)
    with Server() as server:
        server.files = {"zips/val2017.zip": PHOTOS, "annotations/a.zip": ANNOTATIONS}
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def archives():
    return [
        Archive("zips/val2017.zip", hashlib.sha1(PHOTOS).hexdigest(), "val2017/", 9),
        Archive("annotations/a.zip", hashlib.sha1(ANNOTATIONS).hexdigest(), "annotations/captions_val2017.json", 1),
    ]


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WHOLE = {**NOISE, "annotations/captions_val2017.json": CAPTIONS}


def test_wanted_files_are_fetched_checked_and_unpacked(server, archives, tmp_path):
    steps = []
    download(archives, tmp_path / "coco", server.address, lambda *step: steps.append(step))
    assert files_in(tmp_path / "coco") == WHOLE
    assert steps[-2:] == [("unpacking val2017.zip", 9, 9), ("a.zip", 0, 0), ("unpacking a.zip", 1, 1)][-2:]
    assert [item.uri.name for item in open_source(tmp_path / "coco")] == ["000000000001.jpg"]
    server.requested.clear()
    download(archives, tmp_path / "coco", server.address)
    assert server.requested == []


def test_broken_connections_are_continued(server, archives, tmp_path):
    server.breaks, server.refusals = [10_000, 0, 7_000], [503, 429]
    download(archives, tmp_path, server.address)
    assert server.requested[:4] == [None, "bytes=10000-", "bytes=10000-", "bytes=17000-"]
    assert files_in(tmp_path) == WHOLE


def test_an_interrupted_download_is_continued(server, archives, tmp_path):
    def interrupt(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(archives, tmp_path, server.address, interrupt)
    part = tmp_path / "val2017.zip.part"
    part.write_bytes(part.read_bytes()[:20_000])
    download(archives, tmp_path, server.address)
    assert server.requested[1] == "bytes=20000-"
    assert files_in(tmp_path) == WHOLE


def test_interrupted_unpacking_is_continued(server, archives, tmp_path):
    def interrupt(stage, done, total):
        if stage.startswith("unpacking") and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(archives, tmp_path, server.address, interrupt)
    server.requested.clear()
    download(archives, tmp_path, server.address)
    assert (len(server.requested), files_in(tmp_path)) == (1, WHOLE)


def test_a_complete_part_is_not_fetched_again(server, archives, tmp_path):
    (tmp_path / "val2017.zip.part").write_bytes(PHOTOS)
    download(archives, tmp_path, server.address)
    assert files_in(tmp_path) == WHOLE


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_changed_is_fetched_from_the_start(server, archives, tmp_path, ranges):
    server.ranges = ranges
    (tmp_path / "val2017.zip.part").write_bytes(b"another" * 1000)
    (tmp_path / "val2017.zip.part.tag").write_text('"another"')
    download(archives, tmp_path, server.address)
    assert files_in(tmp_path) == WHOLE


def test_an_archive_with_a_wrong_sum_is_removed_and_reported(server, archives, tmp_path):
    with pytest.raises(UnusableArchive, match="val2017.zip can't be used: its SHA-1 is .*; run the same command to fetch it"):
        download([replace(archives[0], sha1="0" * 40)], tmp_path, server.address)
    assert files_in(tmp_path) == {}
    with pytest.raises(UnusableArchive, match="it holds 9 of 10 files"):
        download([replace(archives[0], count=10)], tmp_path, server.address)


def served_as(server, content):
    server.files["zips/x.zip"] = content
    return [Archive("zips/x.zip", hashlib.sha1(content).hexdigest(), "val2017/", 9)]


def test_a_member_with_a_wrong_checksum_is_not_kept(server, tmp_path):
    damaged = bytearray(PHOTOS)
    damaged[2000] ^= 1
    with pytest.raises(UnusableArchive, match="it is damaged .*CRC"):
        download(served_as(server, bytes(damaged)), tmp_path, server.address)
    assert not (tmp_path / "val2017" / "000000000000.jpg").exists()


def test_an_archive_cannot_write_outside_its_folder(server, tmp_path):
    archives = served_as(server, zip_of({f"val2017/../../{number}.jpg": b"x" for number in range(9)}))
    with pytest.raises(UnusableArchive, match="outside its folder"):
        download(archives, tmp_path / "coco", server.address)
    assert list(tmp_path.glob("*.jpg")) == []


def test_a_server_that_fails_is_reported(server, archives, tmp_path):
    with pytest.raises(DownloadFailed, match="404 Not Found.*run the same command to go on"):
        download([replace(archives[0], path="zips/nothing.zip")], tmp_path, server.address)
    server.refusals = [503] * 99
    with pytest.raises(DownloadFailed, match="503 Service Unavailable"):
        download(archives, tmp_path, server.address)


def test_a_disk_without_room_is_reported_before_it_is_full(server, archives, tmp_path, monkeypatch):
    monkeypatch.setattr(indexer.download.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(DownloadFailed, match="GB are needed and 0.0 GB free.: make room"):
        download(archives, tmp_path, server.address)


def test_all_sums_have_40_digits():
    assert {len(archive.sha1) for archives in DATASETS.values() for archive in archives} == {40}


def test_the_command_reports_errors_in_one_line(server, tmp_path):
    done = manage("download", "coco-val2017", "--to", tmp_path / "coco", "--server", server.address)
    assert done.returncode == 2
    assert "val2017.zip can't be used: its SHA-1 is" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert "coco-imagenet" in manage("download", "coco-imagenet").stderr
