"""A home on a medium that can't be written: what only reads works, and what writes says so in one line."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.support.commands import ROOT, manage
from tests.support.fakes import save_photo
from tests.support.read_only import NO_MOUNTS, can_mount, mounted_read_only

pytestmark = pytest.mark.skipif(not can_mount(), reason=NO_MOUNTS)
SECONDS = 240


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home in which one photo is indexed and one could not be read."""
    folder = tmp_path_factory.mktemp("medium")
    save_photo(folder / "photos" / "red.png", "red")
    (folder / "photos" / "broken.jpg").write_text("no photo")
    assert manage("build-index", folder / "photos", "--home", folder / "home").returncode == 3
    return folder / "home"


def command(home, *arguments):
    """The command line of a command that sees the home mounted for reading only."""
    return [*mounted_read_only(home), sys.executable, "manage.py", *map(str, arguments), "--home", str(home)]


def run(*arguments):
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["search", "red"], "red.png"),
        (["status"], "version 1, 1 images"),
        (["versions"], "1 images, 0 captions"),
        (["failures"], "broken.jpg"),
        (["verify"], "everything agrees"),
    ],
)
def test_what_only_reads_works(home, arguments, says):
    done = run(home, *arguments)
    assert (done.returncode, done.stderr) == (0, "") and says in done.stdout


@pytest.mark.parametrize("arguments", [["delete", 1], ["compact"], ["repair"], ["retry-failures"], ["build-index", "photos"]])
def test_what_writes_says_in_one_line_that_it_cannot(home, arguments):
    words = [home.parent / "photos" if word == "photos" else word for word in arguments]
    done = run(home, *words)
    assert done.returncode == 2 and done.stderr.startswith("Error: Can't write to ")
    assert done.stderr.count("\n") == 1 and "Read-only file system" in done.stderr


def test_it_is_served_with_its_runs_and_failures(home):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        command(home, "serve", "--port", port), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(address, server)
        assert "broken.jpg" in get(address, "/collection")
        assert json.loads(get(address, "/api/v1/search?q=red"))["total"] == 1
        assert [run["failed"] for run in json.loads(get(address, "/api/v1/collections/default/runs"))["runs"]] == [1]
        assert json.loads(get(address, "/api/v1/collections/default/failures"))["total"] == 1
        with pytest.raises(HTTPError) as refused:
            urlopen(Request(f"{address}/api/v1/images/1", method="DELETE"))
        assert refused.value.code == 507 and "Read-only file system" in json.load(refused.value)["detail"]
    finally:
        server.kill()
    assert server.communicate()[1] == b""


def get(address: str, path: str) -> str:
    with urlopen(address + path) as response:
        return response.read().decode()


def wait_until_ready(address: str, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return urlopen(f"{address}/readyz").close()
        except OSError:
            time.sleep(0.1)
    raise AssertionError(server.communicate()[1])
