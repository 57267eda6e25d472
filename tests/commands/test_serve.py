"""A collection is changed through the real server, with small random weights: `serve` and what it starts."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from storage import Home
from storage.locking import locked
from tests.support.commands import ROOT, answer
from tests.support.fakes import jpeg, save_photo
from tests.support.small_models import write_small_model

SECONDS = 240


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_small_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def photos(tmp_path):
    for name in ("red", "green", "blue"):
        save_photo(tmp_path / "photos" / f"{name}.png", name)
    return tmp_path / "photos"


@pytest.fixture
def server(request, tmp_path, photos, model):
    """The process, and its address, once it is ready; with the parameter "watching", it watches the photos."""
    answer("build-index", photos, "--home", tmp_path / "home", "--model", model)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "manage.py", "serve", "--home", str(tmp_path / "home"), "--model", model, "--port", str(port)]
    command += ["--watch", str(photos)] if getattr(request, "param", None) == "watching" else []
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: ask(address, "/readyz")[0] == 200)
        yield process, address
    finally:
        process.kill()
        process.wait()


def ask(address, path, method="GET", body=None, kind="application/json"):
    """Status and JSON; 0 where nobody answers."""
    request = Request(address + path, data=body, method=method, headers={"Content-Type": kind} if body else {})
    try:
        with urlopen(request) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, None


def wait_for(happened):
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def form(content: bytes, caption: str) -> bytes:
    caption = f'--x\r\nContent-Disposition: form-data; name="caption"\r\n\r\n{caption}\r\n'
    image = '--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    return caption.encode() + image.encode() + content + b"\r\n--x--\r\n"


def test_a_collection_is_changed_while_it_is_served(server, tmp_path, photos):
    process, address = server
    photo = form(jpeg((128, 0, 128)), "a purple wall")

    status, added = ask(address, "/api/v1/images", "POST", photo, "multipart/form-data; boundary=x")
    assert (status, added["version"], added["existed"]) == (201, 2, False)
    found = ask(address, "/api/v1/search?q=purple&mode=lexical&top=1")[1]["hits"][0]
    assert (found["id"], Path(found["uri"]).parent.name) == (added["id"], "uploads")

    save_photo(photos / "white.png", "white")
    status, run = ask(address, "/api/v1/collections/default/builds", "POST", json.dumps({"source": str(photos)}).encode())
    assert (status, run["state"]) == (202, "starting")
    watched = f"/api/v1/collections/default/builds/{run['run_id']}"
    wait_for(lambda: ask(address, watched)[1]["finished_at"])
    ended = ask(address, watched)[1]
    assert (ended["state"], ended["problem"], ended["added"], ended["unchanged"]) == ("done", None, 1, 3)

    status, deleted = ask(address, f"/api/v1/images/{added['id']}", "DELETE")
    assert (status, deleted["version"], deleted["images"]) == (200, 4, 4)
    assert ask(address, "/api/v1/status")[1]["version"] == 4
    home = ["--home", tmp_path / "home"]
    assert answer("verify", *home)["problems"] == []
    assert answer("rollback", 3, *home)["images"] == 5


def test_a_build_ends_with_the_server(server, tmp_path, photos):
    process, address = server
    status, run = ask(address, "/api/v1/collections/default/builds", "POST", json.dumps({"source": str(photos)}).encode())
    assert status == 202

    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 0
    home = Home(tmp_path / "home")
    assert home.catalog.run("default", run["run_id"]).state == "interrupted"
    with locked(home.collection("default").folder):
        pass


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for the build among the processes of Linux")
def test_a_build_ends_with_a_server_that_is_killed(server, tmp_path, photos):
    process, address = server
    for number in range(3000):  # enough that it is not done before
        save_photo(photos / f"{number}.png", (number % 256, number // 256, 7))
    status, run = ask(address, "/api/v1/collections/default/builds", "POST", json.dumps({"source": str(photos)}).encode())
    assert status == 202 and builds_in(tmp_path / "home")

    process.kill()

    wait_for(lambda: not builds_in(tmp_path / "home"))
    assert Home(tmp_path / "home").catalog.run("default", run["run_id"]).state != "done"


def builds_in(home: Path) -> list[str]:
    """The processes that build in a home."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            arguments = path.read_bytes().split(b"\0")
            if b"--announced" in arguments and str(home).encode() in arguments:
                found.append(path.parent.name)
    return found


@pytest.mark.parametrize("server", ["watching"], indirect=True)
def test_a_photo_that_is_put_into_a_watched_folder_is_found(server, photos):
    _, address = server
    save_photo(photos / "black.png", "black")
    (photos / "black.txt").write_text("a starless night")
    wait_for(lambda: [hit for hit in hits(address, "starless") if hit["uri"] == str(photos / "black.png")])


def hits(address, words):
    return ask(address, f"/api/v1/search?q={words}&mode=lexical")[1]["hits"]
