"""`search --server` beside a proxy of the environment: never for this machine, and never with a token that it could read."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from search.errors import ProxyReadsToken, ServerRefused, Unreachable
from search.proxies import is_this_machine, proxy_for, without_password
from search.remote import search
from storage import Home
from tests.support.commands import answer
from tests.support.fakes import FakeEncoder
from tests.support.galleries import build_gallery
from tests.support.serving import serve
from web import create_app

NOBODY = "http://127.0.0.1:9"
ANSWER = json.dumps(dict.fromkeys(("terms", "notices", "relevance", "hits", "took_ms", "cursor"))).encode()


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Proxy(BaseHTTPRequestHandler):
    """Answers itself what it is asked to pass on, and records it."""

    def do_GET(self):
        self.server.asked.append((self.command, self.path.partition("?")[0], self.headers.get("Authorization")))
        self.send_response(self.server.status)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(ANSWER)

    do_CONNECT = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def proxy(monkeypatch):
    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.asked, server.status = [], 200
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme}_proxy", f"http://me:secret@127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY"])
def test_a_server_on_this_machine_is_asked_directly(tmp_path, name):
    build_gallery(tmp_path)
    address = serve(create_app(Home(tmp_path / "var"), FakeEncoder()))
    for host in ("127.0.0.1", "localhost"):
        found = answer("search", "red", "--server", address.replace("127.0.0.1", host), **{name: NOBODY})
        assert found["total"] == 6


OWN = ["localhost", "LocalHost.", "photos.localhost", "127.0.0.1", "127.1.2.3", "127.1", "0.0.0.0", socket.gethostname()]
OTHERS = ["photos.example", "192.0.2.7", "2001:db8::7", "localhost.example", "x" * 300, "127.0.0.1.example"]


@pytest.mark.parametrize("host", OWN)
def test_names_and_addresses_of_this_machine_are_known(host):
    assert is_this_machine(host)


@pytest.mark.skipif(not is_this_machine("::1"), reason="this machine has no IPv6")
def test_ipv6_addresses_of_this_machine_are_known(monkeypatch):
    monkeypatch.setenv("http_proxy", NOBODY)
    assert proxy_for("http://[::1]:8000") is None and proxy_for("http://[::ffff:127.0.0.1]:8000") is None


@pytest.mark.parametrize("host", OTHERS)
def test_others_are_not_this_machine(host):
    assert not is_this_machine(host)


def test_another_host_is_asked_through_the_proxy_of_its_scheme(monkeypatch):
    monkeypatch.setenv("http_proxy", "proxy.example:3128")
    assert proxy_for("http://photos.example:8000") == "http://proxy.example:3128"
    assert proxy_for("https://photos.example") is None
    assert proxy_for("http://localhost:8000") is None


@pytest.mark.parametrize("exempt", ["photos.example", ".example", "photos.example:8000", "*"])
def test_no_proxy_exempts_hosts(monkeypatch, exempt):
    monkeypatch.setenv("http_proxy", NOBODY)
    monkeypatch.setenv("no_proxy", exempt)
    assert proxy_for("http://photos.example:8000") is None
    assert proxy_for("http://192.0.2.7:8000") == (None if exempt == "*" else NOBODY)


def test_the_proxy_is_asked_for_another_host(proxy):
    assert search("http://photos.example:8000", {"q": "red"})["hits"] is None
    assert proxy.asked == [("GET", "http://photos.example:8000/api/v1/search", None)]


def test_a_token_is_not_sent_where_a_proxy_could_read_it(proxy):
    with pytest.raises(ProxyReadsToken, match=f"the proxy http://127.0.0.1:{proxy.server_port} on the way") as raised:
        search("http://photos.example:8000", {"q": "red"}, token="secret-token")
    assert "me:secret" not in str(raised.value) and proxy.asked == []


def test_over_https_the_proxy_gets_no_token(proxy):
    proxy.status = 502
    with pytest.raises(Unreachable, match="through the proxy http://127.0.0.1:") as raised:
        search("https://photos.example", {"q": "red"}, token="secret-token")
    assert "me:secret" not in str(raised.value)
    assert proxy.asked == [("CONNECT", "photos.example:443", None)]


def test_a_proxy_that_fails_is_named(proxy, monkeypatch):
    proxy.status = 503
    with pytest.raises(ServerRefused, match=r"^Through the proxy http://127.0.0.1:\d+: the answer is 503 "):
        search("http://photos.example", {"q": "red"})
    monkeypatch.setenv("http_proxy", NOBODY)
    with pytest.raises(Unreachable, match=r"through the proxy http://127.0.0.1:9: .*refused"):
        search("http://photos.example", {"q": "red"})


def test_a_proxy_is_shown_without_its_password():
    assert without_password("http://me:p@ss@proxy:3128/x") == "http://proxy:3128"
