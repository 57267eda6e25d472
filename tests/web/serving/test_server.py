"""The server: addresses that it can't listen on, and how it ends."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import pytest
from flask import Flask

from encoder.commands import chosen_models
from tests.support.commands import ROOT
from tests.support.fakes import FakeEncoder
from tests.support.galleries import build_gallery
from web import run
from web.errors import PortTaken
from web.serving.server import check_port, host_and_port


def test_a_port_in_use_is_an_error_before_the_address_is_printed():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTaken, match="--port"):
        run(Flask("nothing"), port=taken.getsockname()[1], on_listening=lambda: pytest.fail("it listens"))


def test_a_port_in_use_is_found_before_other_work():
    says = r"\(Address already in use\).*make demo PORT"
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTaken, match=says):
        check_port("127.0.0.1", taken.getsockname()[1])
    check_port("127.0.0.1", 0)
    check_port("not a host", 0)  # `run` says so


def test_an_unknown_host_is_an_error():
    with pytest.raises(PortTaken, match="--host"):
        run(Flask("nothing"), host="not a host")


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("photos.example", "photos.example:80"),
        ("::1", "[::1]:80"),
        ("[::1]", "[::1]:80"),
        ("::", "[::]:80"),
        ("2001:db8::7", "[2001:db8::7]:80"),
        ("fe80::1%eth0", "[fe80::1%25eth0]:80"),
    ],
)
def test_an_ipv6_address_is_shown_in_brackets(host, shown):
    assert host_and_port(host, 80) == shown


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_the_command_prints_an_address_that_can_be_opened(tmp_path, host):
    build_gallery(tmp_path, encoder=FakeEncoder(chosen_models(tmp_path, None, None).fingerprint))
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-u", "manage.py", "serve", "--host", host, "--port", str(port), "--home", str(tmp_path / "var")]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE) as server:
        address = server.stdout.readline().split()[1]
        assert address == f"http://[::1]:{port}" and json.load(urlopen(f"{address}/healthz")) is not None
        server.kill()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_taken_port_is_shown_in_brackets_too():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken, pytest.raises(PortTaken, match=r"on \[::1\]:\d"):
        check_port("::1", taken.getsockname()[1])


SLOW = """
import signal, sys, time
from pathlib import Path
from storage import Home
from tests.support.fakes import FakeEncoder
from web import create_app, run

class Slow(FakeEncoder):
    def encode_texts(self, texts):
        print("searching", flush=True)
        time.sleep(1)
        return super().encode_texts(texts)

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
app = create_app(Home(Path(sys.argv[1])), Slow())
run(app, port=int(sys.argv[2]), on_listening=lambda: print("listening", flush=True))
print("ended", flush=True)
"""


def test_the_server_finishes_running_requests_before_it_ends(tmp_path):
    build_gallery(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path / "var"), str(port)], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert server.stdout.readline() == "listening\n"

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: urlopen(f"http://127.0.0.1:{port}/api/v1/search?q=red", timeout=20).read())
        assert server.stdout.readline() == "searching\n"
        server.terminate()
        assert json.loads(answer.result())["total"] == 6

    printed, errors = server.communicate(timeout=20)
    assert (server.returncode, printed) == (0, "ended\n") and "Traceback" not in errors
