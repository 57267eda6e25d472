"""Where the server can't listen is told in one line; and how it ends."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import pytest
from flask import Flask

from tests.support.commands import ROOT
from tests.support.galleries import build_gallery
from web import run
from web.errors import PortTaken
from web.serving.server import check_port


def test_a_port_in_use_is_told_before_anything_is_announced():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTaken, match="--port"):
        run(Flask("nothing"), port=taken.getsockname()[1], on_listening=lambda: pytest.fail("it listens"))


def test_a_port_in_use_is_told_before_the_work():
    says = r"\(Address already in use\).*make demo PORT"
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTaken, match=says):
        check_port("127.0.0.1", taken.getsockname()[1])
    check_port("127.0.0.1", 0)
    check_port("not a host", 0)  # `run` says so


def test_a_host_that_is_none_is_told():
    with pytest.raises(PortTaken, match="--host"):
        run(Flask("nothing"), host="not a host")


SLOW = """
import signal, sys, time
from pathlib import Path
from storage import Home
from tests.support.fakes import FakeEncoder
from web import create_app, run

class Slow(FakeEncoder):
    def encode_texts(self, texts):
        print("asked", flush=True)
        time.sleep(1)
        return super().encode_texts(texts)

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
app = create_app(Home(Path(sys.argv[1])), Slow())
run(app, port=int(sys.argv[2]), on_listening=lambda: print("listening", flush=True))
print("ended", flush=True)
"""


def test_what_is_being_answered_is_answered_before_the_server_ends(tmp_path):
    build_gallery(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path / "var"), str(port)], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert server.stdout.readline() == "listening\n"

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: urlopen(f"http://127.0.0.1:{port}/api/v1/search?q=red", timeout=20).read())
        assert server.stdout.readline() == "asked\n"
        server.terminate()
        assert json.loads(answer.result())["total"] == 6

    said, wrong = server.communicate(timeout=20)
    assert (server.returncode, said) == (0, "ended\n") and "Traceback" not in wrong
