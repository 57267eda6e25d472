"""Hostile requests: broken photos, paths that lead out of a folder, markup, and addresses that nothing may fetch."""

from __future__ import annotations

import dataclasses
import io
import os
import socket

import pytest

from storage import FileRecord, Home
from tests.support import galleries, hostile
from tests.support.documented import assert_documented
from tests.support.fakes import FakeEncoder, jpeg
from tests.support.galleries import Shot, build_gallery
from tests.support.parsed_pages import Found
from tests.support.serving import serve
from web import create_app
from web.build_runner import CommandBuilds
from web.editing import HomeEditor
from web.photo_decoder import _decode
from web.state import state_of

pytestmark = pytest.mark.usefixtures("one_decoder")
MARKUP = "<img src=x onerror=alert(1)>\"'</title></style></script><script>alert(2)</script>"
ELSEWHERE = [
    "http://127.0.0.1:9/a.jpg",
    "https://photos.example/a.jpg",
    "file:///etc/passwd",
    "ftp://photos.example/a.jpg",
    "//photos.example/a.jpg",
    "gopher://127.0.0.1:9/_x",
    r"\\photos.example\a.jpg",
    "http://169.254.169.254/latest/",
]
CASES = {ascii(case.name)[:60]: case for case in hostile.corpus()}
OUT = ["../web/app.py", "..%2f..%2fweb%2fapp.py", "%2e%2e/%2e%2e/web/app.py", "..%5c..%5cweb%5capp.py",
       "....//....//web/app.py", "/etc/passwd", "%2fetc%2fpasswd", "1/../../../etc/passwd",
       "..%00/etc/passwd", "%252e%252e/web/app.py",
       "..;/web/app.py", "%c0%ae%c0%ae/web/app.py"]  # fmt: skip


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    build_gallery(folder)
    home = Home(folder / "var")
    return create_app(home, FakeEncoder(), editor=HomeEditor(home, CommandBuilds(home)))


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def home(app):
    return state_of(app).service.home


@pytest.fixture(scope="module")
def port(app):
    return int(serve(app).rpartition(":")[2])


def form(name: bytes, content: bytes, *more: bytes) -> dict:
    """A form with a file, written by hand."""
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="' + name + b'"\r\n\r\n'
    body = head + content + b"\r\n" + b"".join(more) + b"--x--\r\n"
    return {"data": body, "content_type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("path", ["/api/v1/search", "/by-image"])
def test_every_upload_is_answered(client, path, case):
    name = os.fsencode(case.name).replace(b'"', b"%22").replace(b"\n", b"%0A")
    answer = client.post(path, **form(name, case.content))

    good = 200 if path.startswith("/api") else 303
    named = "\udcff" not in case.name  # a form's names are UTF-8
    assert answer.status_code == (good if case.reason is None and named else 400)
    if path.startswith("/api"):
        assert_documented(answer, path, "post")
    assert client.get("/api/v1/search?q=red").status_code == 200


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_upload_is_a_photo_or_leaves_nothing(client, home, case):
    before = home.collection("default").manifest.version, home.catalog.failures("default"), uploads(home)
    name = os.fsencode(case.name).replace(b'"', b"%22").replace(b"\n", b"%0A")

    answer = client.post("/api/v1/images", **form(name, case.content))

    assert_documented(answer, "/api/v1/images", "post")
    if answer.status_code == 400:
        assert (home.collection("default").manifest.version, home.catalog.failures("default"), uploads(home)) == before
    else:
        assert case.reason is None and answer.status_code in (200, 201)
        assert client.get(answer.json["thumbnail_url"]).status_code == 200
        client.delete(answer.json["image_url"].replace("/images", "/api/v1/images"))


def uploads(home):
    return sorted(path.name for path in (home.path / "collections" / "default").glob("uploads/*"))


@pytest.mark.parametrize("path", ["/api/v1/search", "/by-image", "/api/v1/images"])
@pytest.mark.parametrize("sent", [
    {"data": b"", "content_type": "multipart/form-data"},
    {"data": b"\xff" * 5000, "content_type": "multipart/form-data; boundary=x"},
    {"data": b"--x\r\n" * 5000, "content_type": "multipart/form-data; boundary=x"},
    {"data": b"--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.jpg\"\r\n\r\nno end",
     "content_type": "multipart/form-data; boundary=x"},
    {"data": jpeg("red"), "content_type": "image/jpeg"},
    {"data": b'{"image": "http://127.0.0.1:9/"}', "content_type": "application/json"},
    {"data": b"image=" + b"a" * 100_000, "content_type": "application/x-www-form-urlencoded"},
    {"data": b"&".join(b"a%d=1" % i for i in range(20_000)), "content_type": "application/x-www-form-urlencoded"},
    form(b"a.jpg", b"", *[b'--x\r\nContent-Disposition: form-data; name="q"\r\n\r\nred\r\n'] * 3000),
    form(b"a.jpg", b"\0" * 100, b'--x\r\nContent-Disposition: form-data; name="top"\r\n\r\n-1\r\n'),
    form(b"n" * 500_000, b"x"),
    {"data": b"x", "content_type": "multipart/form-data; boundary=" + "y" * 2000},
], ids=["no form", "noise", "boundaries", "cut", "a bare photo", "json", "a word", "many fields", "many parts", "a bad number",
        "a long name", "a long boundary"])  # fmt: skip
def test_broken_forms_are_refused(client, path, sent):
    answer = client.post(path, **sent)

    assert 400 <= answer.status_code < 500
    if path.startswith("/api"):
        assert_documented(answer, path, "post")
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("name", ["a\r\nSet-Cookie: x=1", MARKUP, "../../etc/passwd", "照片.jpg", "\0", "a" * 5000, "{{7*7}}"])
def test_the_file_name_of_an_upload_is_only_a_name(client, name):
    answer = client.post("/by-image", data={"image": (io.BytesIO(jpeg("red")), name)}, follow_redirects=True)

    assert answer.status_code == (400 if "\n" in name else 200)
    assert "Set-Cookie" not in answer.headers and "49" not in answer.text.partition("<main")[2].partition("<li")[0]
    assert not scripted(answer.text)


@pytest.mark.parametrize("room", ["/static/", "/images/", "/thumbnails/", "/photo/", "/by-image/", "/api/v1/collections/"])
@pytest.mark.parametrize("path", OUT)
def test_no_path_leads_out_of_a_folder(port, room, path):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(f"GET {room}{path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))

    status = int(answer.split()[1])
    assert status in (301, 308, 400, 404) and b"root:" not in answer and b"create_app" not in answer
    if status < 400:
        assert b"Location: http://localhost/" in answer


def scripted(page: str) -> list:
    """The elements of a page that would run, or come from another site."""
    tags = Found(page).tags
    return [
        (tag, attributes) for tag, attributes in tags
        if any(name.startswith("on") for name in attributes)
        or attributes.get("src", "/")[0] not in "/" or attributes.get("href", "/")[:11].lower() == "javascript:"
        or (tag == "script" and "src" not in attributes)
    ]  # fmt: skip


def test_markup_in_all_that_a_collection_holds_stays_text(tmp_path, monkeypatch):
    plain = galleries._image
    monkeypatch.setattr(galleries, "_image", lambda *them: dataclasses.replace(
        plain(*them), metadata={MARKUP: MARKUP, "nested": {MARKUP: [MARKUP]}}))  # fmt: skip
    name = MARKUP.replace("/", "_") + ".jpg"
    build_gallery(tmp_path, [Shot(name, "red", captions=[("en", MARKUP), ("zh", MARKUP)]), Shot("b.jpg", "blue")])
    home = Home(tmp_path / "var")
    home.catalog.record_files("default", [FileRecord(MARKUP, MARKUP, "failed", reason=MARKUP, sentence=MARKUP)])
    home.catalog.start_run("default", MARKUP, 7)
    client = create_app(home, FakeEncoder()).test_client()

    for address, parameters in [
        ("/", {}), ("/", {"q": "red"}), ("/", {"q": MARKUP}), ("/", {"q": "red", "to": "captions"}),
        ("/", {"q": "red", "where": MARKUP}), ("/", {"q": "red", "mode": MARKUP}), ("/", {"q": "red", "cursor": MARKUP}),
        ("/photo/1", {}), ("/photo/1", {"q": "red"}), ("/photo/1", {"q": MARKUP, "where": "id = 1"}),
        ("/similar/1", {"q": MARKUP}), ("/photo/1", {"sent": MARKUP}), ("/collection", {}), ("/collection", {"lang": MARKUP}),
        ("/api", {}), (f"/{MARKUP}", {}),
    ]:  # fmt: skip
        page = client.get(address, query_string=parameters)
        assert page.status_code < 500 and page.mimetype == "text/html"
        assert not scripted(page.text), (address, parameters)
    found = client.get("/api/v1/search?q=red")
    assert found.mimetype == "application/json" and found.json["hits"][0]["captions"][0]["text"] == MARKUP


@pytest.fixture
def offline(monkeypatch):
    """Collect every attempt to connect, and refuse it."""
    tried = []

    def refuse(*args, **_):
        tried.append(args)
        raise AssertionError(f"something wants to reach {args}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    return tried


@pytest.mark.parametrize("address", ELSEWHERE)
def test_nothing_is_ever_fetched(app, offline, address):
    client = app.test_client()
    for path in ("/api/v1/search", "/"):
        for name in ("q", "where", "cursor", "image_id", "like", "sent", "image", "url", "lang"):
            assert client.get(path, query_string={"q": "red", name: address}).status_code < 500
    for path in ("/api/v1/search", "/by-image"):
        for data in ({"image": address}, {"q": "red", "image": address}, {"image": (io.BytesIO(address.encode()), address)},
                     {"image": (io.BytesIO(jpeg("red")), address), "q": address}):  # fmt: skip
            assert client.post(path, data=data, content_type="multipart/form-data").status_code < 500
    for header in ("Referer", "Origin", "X-Forwarded-For", "X-Forwarded-Host", "Forwarded"):
        assert client.get("/?q=red", headers={header: address}).status_code == 200
    assert not offline


def test_decoding_fetches_nothing(offline):
    config = FakeEncoder().config
    drawing = b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1:9/a.jpg'/></svg>"
    for content in (drawing, *(address.encode() for address in ELSEWHERE), *(case.content for case in CASES.values())):
        _decode(content, config)
    assert not offline


def test_a_photo_whose_uri_is_an_http_address_is_not_found(tmp_path, monkeypatch, offline):
    plain = galleries._image
    monkeypatch.setattr(galleries, "_image", lambda *them: dataclasses.replace(plain(*them), uri=ELSEWHERE[0]))
    build_gallery(tmp_path, [Shot("a.jpg", "red")])
    client = create_app(Home(tmp_path / "var"), FakeEncoder()).test_client()

    assert client.get("/images/1").status_code == 404 and client.get("/photo/1").status_code == 200
    assert not offline
