"""`manage.py search --server`: the API, called from the command line."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from search.errors import Redirected, ServerRefused, Unreachable
from search.remote import search
from storage import Home
from tests.support.commands import answer, manage
from tests.support.fakes import FakeEncoder, save_photo
from tests.support.galleries import build_gallery, ids_by_name
from tests.support.serving import serve
from web import create_app
from web.serving.auth import Tokens

READ = "only-reading-0123456789"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return build_gallery(tmp_path_factory.mktemp("gallery"))


@pytest.fixture(scope="module")
def server(gallery):
    return serve(create_app(Home(gallery.folder.parent.parent), FakeEncoder()))


def test_the_command_prints_what_the_server_finds(server, gallery):
    found = answer("search", "红色", "--server", server, "--top", 2, "--where", "width = 96", "--fold-duplicates")

    assert found["hits"][0]["id"] == ids_by_name(gallery)["red"] and len(found["hits"]) == 2
    assert found["where"] == "width = 96"
    assert answer("search", "red", "--server", server, "--rerank", 0)["reranked"] == 0
    assert answer("search", "a", "red", "wall", "--server", server)["query"] == "a red wall"
    lines = manage("search", "red", "--server", f"{server}/", "--top", 1).stdout
    assert "red.jpg" in lines and "next page: --cursor" in lines


def test_a_photo_is_sent_alone_or_added_to_words(server, gallery, tmp_path):
    photo = save_photo(tmp_path / '朝 "1".png', "green")

    found = answer("search", "--image", photo, "--server", server, "--top", 1)
    assert found["hits"][0]["id"] == ids_by_name(gallery)["green"] and [term["kind"] for term in found["terms"]] == ["photo"]
    captions = answer("search", "--image", photo, "--server", server, "--to", "captions")["hits"]
    assert captions[0]["image"]["id"] == ids_by_name(gallery)["green"]
    both = answer("search", "red", "--image", photo, "--server", server)
    assert [term["kind"] for term in both["terms"]] == ["words", "photo"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"no photo", "Error: the uploaded photo is not an image that can be read"), (None, "can't be read (No such file")],
)
def test_a_file_that_is_no_photo_gives_a_one_line_error(server, tmp_path, content, says):
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    done = manage("search", "--image", tmp_path / "a.jpg", "--server", server)

    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1


def test_a_token_that_only_reads_sends_no_photo(gallery, tmp_path):
    guarded = serve(create_app(Home(gallery.folder.parent.parent), FakeEncoder(), tokens=Tokens(read=READ)))
    done = manage("search", "--image", save_photo(tmp_path / "a.png", "red"), "--server", guarded, PANOPTES_READ_TOKEN=READ)

    assert done.returncode == 2 and "token" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["red", "--where", "widht = 1"], "Error: The filter can't be used at character 1"),
        (["-people", "--to", "images"], "No such option"),
        (["red", "--collection", "other"], "--server takes no --collection: it searches its own"),
        (["red", "--home", "/tmp"], "--server takes no --home"),
        (["red", "--model", "mine"], "--server takes no --model"),
        (["red", "--explain"], "--server takes no --explain"),
        (["red", "--cursor", "abc"], "Error: That is no cursor"),
        (["red", "--top", "501"], "Error: top is '501': it must be a whole number from 1 to 500."),
    ],
)
def test_an_error_of_the_server_is_printed_as_it_is(server, arguments, says):
    done = manage("search", *arguments, "--server", server)

    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr


def test_a_missing_server_gives_a_one_line_error():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = manage("search", "red", "--server", f"http://127.0.0.1:{unused.getsockname()[1]}")

    assert done.returncode == 2 and done.stderr.startswith("Error: Can't ask http://127.0.0.1:")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "address", ["localhost:8000", "ftp://x", "http://", "", "file:///etc/passwd", "http://a:b", "http://[::1", "http://:8000"]
)
def test_a_bad_server_address_is_refused(address):
    with pytest.raises(Unreachable, match="no address such as"):
        search(address, {"q": "red"})


@pytest.mark.parametrize(
    ("address", "meant"),
    [("http://::1:8000", "http://[::1]:8000"), ("http://fe80::1", "http://[fe80::1]"), ("http://::1:80", "http://[::1:80]")],
)
def test_an_ipv6_address_without_brackets_is_written_as_it_was_meant(address, meant):
    with pytest.raises(Unreachable) as raised:
        search(address, {"q": "red"})
    assert str(raised.value).endswith(f"stands in brackets: {meant})")


def test_a_token_of_the_environment_is_sent(gallery):
    guarded = serve(create_app(Home(gallery.folder.parent.parent), FakeEncoder(), tokens=Tokens(read=READ)))

    assert answer("search", "red", "--server", guarded, PANOPTES_READ_TOKEN=READ)["total"] == 6
    with pytest.raises(ServerRefused, match="needs a token"):
        search(guarded, {"q": "red"})


ODD_ANSWERS = {
    "/empty": (200, b"{}"), "/no-json": (200, b"<html>"), "/list": (200, b"[]"), "/teapot": (418, b"tea"),
    "/odd": (400, json.dumps({"detail": "a\nb"}).encode()),
}  # fmt: skip


class Stranger(BaseHTTPRequestHandler):
    """A server of another kind."""

    def do_GET(self):
        status, content = ODD_ANSWERS[self.path.partition("?")[0]]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [("/empty", Unreachable, "not that of Panoptes"), ("/list", Unreachable, "not that of Panoptes"),
     ("/no-json", Unreachable, "no JSON"),
     ("/teapot", ServerRefused, "answers 418"), ("/odd", ServerRefused, "^a b$")],
)  # fmt: skip
def test_a_server_of_another_kind_gives_a_one_line_error(path, error, says):
    with HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        with pytest.raises(error, match=says) as raised:
            search(f"http://127.0.0.1:{stranger.server_port}", {"q": "red"}, path=path)
        stranger.shutdown()
    assert "\n" not in str(raised.value)


class Redirecting(HTTPServer):
    """Redirects requests below /old to the same path below `target`, and records the paths and tokens that it gets."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), RedirectingHandler)
        self.target, self.requests = "", []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class RedirectingHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.path.partition("?")[0], self.headers.get("Authorization")))
        moved = self.path.startswith("/old")
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("Location", self.server.target + self.path.removeprefix("/old"))
        self.end_headers()
        if not moved:
            self.wfile.write(json.dumps(dict.fromkeys(("terms", "notices", "relevance", "hits", "took_ms", "cursor"))).encode())

    do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def two_servers():
    with Redirecting() as first, Redirecting() as second:
        yield first, second
        for server in (first, second):
            server.shutdown()


def test_a_redirect_to_another_server_does_not_get_the_token(two_servers):
    first, second = two_servers
    for target in (second.address, f"http://localhost:{first.server_port}", f"https://127.0.0.1:{first.server_port}"):
        first.target = target
        done = manage("search", "red", "--server", f"{first.address}/old", PANOPTES_TOKEN=READ)

        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"Error: {first.address} sends the question on to {target}, ")
    assert second.requests == [] and {token for _, token in first.requests} == {f"Bearer {READ}"}


def test_a_redirect_within_a_server_is_followed(two_servers):
    first, _ = two_servers
    first.target = ""

    assert search(first.address, {"q": "red"}, READ, "/old/new")["terms"] is None
    assert first.requests == [("/old/new", f"Bearer {READ}"), ("/new", f"Bearer {READ}")]


def test_a_photo_is_not_sent_along_a_redirect(two_servers):
    first, second = two_servers
    first.target = ""
    with pytest.raises(ServerRefused, match="answers 302"):
        search(first.address, {}, READ, "/old/new", photo=b"photo")
    first.target = second.address
    with pytest.raises(Redirected):
        search(first.address, {}, READ, "/old/new", photo=b"photo")
    assert second.requests == [] and [path for path, _ in first.requests] == ["/old/new"] * 2
