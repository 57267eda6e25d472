"""Access control: tokens, other sites' pages, and names of this machine."""

from __future__ import annotations

import base64
import io

import pytest

from storage import Home
from tests.support.commands import manage
from tests.support.fakes import FakeEncoder, jpeg
from tests.support.galleries import build_gallery
from web import create_app
from web.errors import BadToken, Unguarded
from web.serving.auth import Tokens, check_address, is_local

pytestmark = pytest.mark.usefixtures("one_decoder")
FULL, READ = "full-access-0123456789", "only-reading-0123456789"
TOKENS = Tokens(FULL, READ)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A gallery for all tests: none may change it."""
    folder = tmp_path_factory.mktemp("gallery")
    build_gallery(folder)
    return Home(folder / "var")


@pytest.fixture(scope="module")
def app(home):
    return create_app(home, FakeEncoder(), tokens=TOKENS)


@pytest.fixture
def client(app):
    return app.test_client()


def bearer(token: str) -> dict:
    return {"Authorization": f"Bearer {token}"}


def basic(token: str) -> dict:
    return {"Authorization": "Basic " + base64.b64encode(f"anyone:{token}".encode()).decode()}


def send(client, headers: dict, path: str = "/api/v1/search"):
    return client.post(path, data={"image": (io.BytesIO(jpeg("red")), "a.jpg")}, headers=headers)


EVERYTHING = ["/", "/?q=red", "/photo/1", "/collection", "/images/1", "/thumbnails/1", "/api/v1/search?q=red", "/api/v1/status",
              "/api/v1/collections", "/api/v1/openapi.json", "/api", "/metrics", "/nothing"]  # fmt: skip


@pytest.mark.parametrize("path", EVERYTHING)
@pytest.mark.parametrize(
    "headers",
    [{}, bearer("wrong"), bearer(""), bearer(FULL[:-1]), bearer(FULL + "x"), basic(""), {"Authorization": "Bearer"},
     {"Authorization": "Digest x"}, bearer("ключ")],
    ids=range(9),
)  # fmt: skip
def test_nothing_is_seen_without_a_token(client, path, headers):
    refused = client.get(path, headers={name: value.encode().decode("latin-1") for name, value in headers.items()})

    assert refused.status_code == 401 and refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert b'src="/thumbnails' not in refused.data and FULL not in refused.text


@pytest.mark.parametrize("path", EVERYTHING[:-1])
@pytest.mark.parametrize("headers", [bearer(FULL), bearer(READ), basic(FULL), basic(READ)], ids=range(4))
def test_either_token_reads_everything(client, path, headers):
    assert client.get(path, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/search", "/by-image"])
def test_only_the_full_token_may_send_a_photo(client, path):
    refused = send(client, bearer(READ), path)

    assert refused.status_code == 403 and "for reading only" in refused.text
    assert send(client, {}, path).status_code == 401
    assert send(client, bearer(FULL), path).status_code in (200, 303)


CHANGES = [("POST", "/api/v1/images"), ("DELETE", "/api/v1/images/1"), ("POST", "/api/v1/collections/default/builds"),
           ("DELETE", "/api/v1/collections/default/builds/1"), ("POST", "/collection/builds"),
           ("POST", "/collection/builds/1/stop")]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_only_the_full_token_may_change_the_collection(client, home, method, path):
    assert client.open(path, method=method, headers=bearer(READ)).status_code == 403
    assert client.open(path, method=method).status_code == 401
    assert client.open(path, method=method, headers=bearer(FULL) | {"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert Home(home.path).collection("default").manifest.version == 1

    allowed = client.open(path, method=method, headers=bearer(FULL))  # and no further: this one was given no editor
    assert allowed.status_code == 403 and "--read-only" in allowed.text


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://evil.example", 403), ("null", 403), ("http://photos.example", 403),
     ("http://photos.example:8000.evil.example", 403), ("http://photos.example:8000", 303), (None, 303)],
)  # fmt: skip
def test_over_plain_http_another_site_is_recognized_by_its_origin(client, origin, status):
    headers = bearer(FULL) | {"Host": "photos.example:8000"} | ({"Origin": origin} if origin else {})

    answer = client.post("/by-image", data={"image": (io.BytesIO(jpeg("red")), "a.jpg")}, headers=headers)

    assert answer.status_code == status


def test_health_checks_need_no_token(client):
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_without_tokens_everything_is_permitted(tmp_path):
    client = create_app(Home(tmp_path), FakeEncoder()).test_client()
    assert client.get("/api/v1/status").status_code == 200
    assert client.get("/api/v1/status", headers=bearer("whatever")).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("localhost:8000", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("LOCALHOST", 200),
     ("127.8.8.8", 200), ("[2001:db8::1]", 421),
     ("evil.example", 421), ("127.0.0.1.evil.example:8000", 421), ("localhost.evil.example", 421), ("", 421)],
)  # fmt: skip
def test_another_name_that_points_here_is_refused(tmp_path, host, status):
    client = create_app(Home(tmp_path), FakeEncoder(), local_only=True).test_client()

    answer = client.get("/api/v1/status", headers={"Host": host} if host else {}, environ_overrides={"HTTP_HOST": host})

    assert answer.status_code == status


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_cannot_have_a_browser_send_photos(home, site):
    client = create_app(home, FakeEncoder()).test_client()

    assert send(client, {"Sec-Fetch-Site": site}, "/by-image").status_code == 403
    assert send(client, {"Sec-Fetch-Site": "same-origin"}, "/by-image").status_code == 303
    assert client.get("/?q=red", headers={"Sec-Fetch-Site": site}).status_code == 200  # links from elsewhere work


def test_no_other_site_may_read(client):
    answer = client.get("/api/v1/status", headers=bearer(FULL) | {"Origin": "https://evil.example"})
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_alone_needs_no_token(host):
    assert is_local(host)
    check_address(host, Tokens())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "photos.example", ""])
def test_any_other_address_needs_one(host):
    for tokens in (Tokens(), Tokens(read=READ)):
        with pytest.raises(Unguarded, match="PANOPTES_TOKEN"):
            check_address(host, tokens)
    check_address(host, TOKENS)


@pytest.mark.parametrize("token", ["short", "a" * 15, "with\nnewline-0123456789", "schlüssel-0123456789"])
def test_a_token_that_could_be_guessed_or_sent_wrongly_is_refused(token):
    for name in ("PANOPTES_TOKEN", "PANOPTES_READ_TOKEN"):
        with pytest.raises(BadToken, match=name):
            Tokens.of({name: token})


def test_tokens_come_from_the_environment_and_are_two():
    assert Tokens.of({"PANOPTES_TOKEN": FULL, "PANOPTES_READ_TOKEN": READ}) == TOKENS
    assert not Tokens.of({"PANOPTES_TOKEN": ""})
    assert FULL not in repr(TOKENS)
    with pytest.raises(BadToken, match="make them two"):
        Tokens.of({"PANOPTES_TOKEN": FULL, "PANOPTES_READ_TOKEN": FULL})


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_the_command_refuses_to_listen_elsewhere_in_one_line(tmp_path, command):
    done = manage(command, "--host", "0.0.0.0", "--home", tmp_path / "var")

    assert done.returncode == 2
    assert done.stderr.startswith("Error: Listening on 0.0.0.0 would let others in: set PANOPTES_TOKEN")
    assert done.stderr.count("\n") == 1 and not (tmp_path / "var").exists()
