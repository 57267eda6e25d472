"""Clients that send or take slowly don't keep others from being answered, and are disconnected in the end."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPResponse
from urllib.request import urlopen

import pytest

from tests.support.commands import ROOT
from tests.support.galleries import build_gallery

SERVER = """
import signal, sys
from pathlib import Path
from storage import Home
from tests.support.fakes import FakeEncoder
from web import create_app, run
from web.serving.slow_clients import SlowClientLimits

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
app = create_app(Home(Path(sys.argv[1])), FakeEncoder())
app.add_url_rule("/much", view_func=lambda: "x" * 20_000_000)
limits = SlowClientLimits(header_s=1, body_s=1, response_s=1, crowd=int(sys.argv[3]))
run(app, port=int(sys.argv[2]), threads=4, limits=limits, on_listening=lambda: print("listening", flush=True))
"""
HEAD = b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"


class Server:
    """The real server in a process of its own, with short limits."""

    def __init__(self, home, crowd: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, str(home), str(self.port), str(crowd)], cwd=ROOT,
                                        text=True, stdout=subprocess.PIPE)  # fmt: skip
        assert self.process.stdout.readline() == "listening\n"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def answers(self) -> bool:
        with urlopen(f"http://127.0.0.1:{self.port}/api/v1/search?q=red", timeout=10) as answer:
            return answer.status == 200

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


@pytest.fixture(scope="module", params=[800, 40], ids=["a few", "more than there is room for"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow")
    build_gallery(folder)
    server = Server(folder / "var", request.param)
    yield server
    server.close()


def dribble(clients: list[socket.socket], byte: bytes, until) -> int:
    """Send a byte from each client ten times a second, until `until()` or all are disconnected; return how many are left."""
    left = list(clients)
    while left and not until():
        for client in list(left):
            try:
                client.sendall(byte)
                client.setblocking(False)
                with suppress(BlockingIOError):
                    if client.recv(4096) == b"":
                        left.remove(client)
                        continue
                client.setblocking(True)
            except OSError:
                left.remove(client)
        time.sleep(0.1)
    return len(left)


@pytest.mark.parametrize("begun", [b"GET / HTTP/1.1\r\nX-Slow: ", HEAD + b"Content-Length: 100000\r\n\r\n",
                                   HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n", b"\r\n", b""],
                         ids=["head", "body", "chunked body", "empty lines", "nothing"])  # fmt: skip
def test_others_are_answered_while_many_send_slowly_and_those_are_disconnected(server, begun):
    with ExitStack() as open_sockets:
        clients = [open_sockets.enter_context(server.connect()) for _ in range(120)]
        for client in clients:
            with suppress(OSError):  # let go already, where there is no room
                client.sendall(begun)
        assert all(server.answers() for _ in range(5))
        began = time.monotonic()
        left = dribble(clients if begun else [], b"\r\n" if begun == b"\r\n" else b"x", lambda: time.monotonic() - began > 15)
        assert left == 0 and server.answers()


def test_a_client_that_takes_its_answer_slowly_holds_no_thread(server):
    with ExitStack() as open_sockets:
        clients = [open_sockets.enter_context(server.connect()) for _ in range(8)]  # there are 4 threads
        for client in clients:
            client.sendall(b"GET /much HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert server.answers()
        time.sleep(2.5)
        for client in clients:
            client.settimeout(10)
            assert len(_all_of(client)) < 20_000_000
        assert server.answers()


def test_a_connection_that_goes_on_asking_is_kept(server):
    client = HTTPConnection("127.0.0.1", server.port, timeout=10)
    client.connect()
    for _ in range(8):
        client.sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = HTTPResponse(client.sock)
        answer.begin()
        assert answer.status == 200 and answer.read() == b'{"status":"ok"}\n'
        time.sleep(0.2)
    client.close()


def _all_of(client: socket.socket) -> bytes:
    parts = []
    with suppress(OSError):
        while part := client.recv(1 << 20):
            parts.append(part)
    return b"".join(parts)
