from __future__ import annotations

import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from encoder.errors import BadCheckpoint
from storage import Home
from tests.support.fakes import FakeEncoder
from tests.support.galleries import build_gallery
from web import create_app, run
from web.errors import PortTaken


@pytest.fixture
def home(tmp_path):
    build_gallery(tmp_path)
    return Home(tmp_path / "var")


class SlowToLoad:
    """A loader that waits to be released, and an encoder whose warm-up does too."""

    def __init__(self) -> None:
        self.loaded, self.warm = threading.Event(), threading.Event()
        self.encoder = FakeEncoder()
        self.encoder.warm_up = lambda images=True: self.warm.wait(10)

    def __call__(self):
        self.loaded.wait(10)
        return self.encoder


def wait_for(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_server_answers_while_the_model_loads(home):
    loader = SlowToLoad()
    client = create_app(home, loader).test_client()

    assert client.get("/healthz").json == {"status": "ok"}
    assert (client.get("/readyz").status_code, client.get("/readyz").json) == (503, {"status": "loading"})
    start = client.get("/")
    assert start.status_code == 200 and "The model is loading" in start.text and "/thumbnails/" in start.text
    assert client.get("/thumbnails/1").status_code == 200

    page = client.get("/?q=red")
    assert page.status_code == 503 and "The model is waking up" in page.text and 'value="red"' in page.text
    answer = client.get("/api/v1/search?q=red")
    assert answer.status_code == 503 and answer.headers["Retry-After"] == "3"
    assert answer.json["detail"] == "The model is still loading: try again in a few seconds."
    assert client.get("/api/v1/status").json["model"] == {"state": "loading", "name": None, "fingerprint": None}
    assert client.post("/by-image").status_code == 503

    loader.loaded.set()
    time.sleep(0.05)
    assert client.get("/readyz").status_code == 503  # loaded, and not yet warm
    loader.warm.set()
    wait_for(lambda: client.get("/readyz").status_code == 200)
    assert client.get("/api/v1/search?q=red").status_code == 200


def test_ready_means_that_the_model_is_warm_and_a_search_has_opened_the_collection(home):
    encoder = FakeEncoder()
    client = create_app(home, lambda: encoder).test_client()
    wait_for(lambda: client.get("/readyz").status_code == 200)
    assert encoder.calls[0] == ("warm_up_for_sentences", 0) and ("match", 6) in encoder.calls
    wait_for(lambda: encoder.calls[-1] == ("warm_up", 0))  # what photos need comes after


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (BadCheckpoint("The weights are damaged: fetch them again."), "The weights are damaged: fetch them again."),
        (RuntimeError("secret"), "The model can't be loaded: the server's log says why."),
    ],
)
def test_a_model_that_cannot_be_loaded_is_an_error_with_one_line(home, error, says):
    def load():
        raise error

    client = create_app(home, load).test_client()
    wait_for(lambda: client.get("/readyz").json["status"] == "failed")

    assert client.get("/readyz").status_code == 503
    assert client.get("/api/v1/search?q=red").json["detail"] == says
    page = client.get("/?q=red")
    assert page.status_code == 503 and "secret" not in page.text
    assert client.get("/").status_code == 200


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_many_at_once_over_the_real_server(home):
    port = free_port()
    app = create_app(home, FakeEncoder())
    threading.Thread(target=run, args=(app,), kwargs={"port": port}, daemon=True).start()
    base = f"http://127.0.0.1:{port}"

    def ask(path: str) -> int:
        with urllib.request.urlopen(base + path, timeout=10) as answer:
            return answer.status

    def answers() -> bool:
        try:
            return ask("/healthz") == 200
        except OSError:
            return False

    wait_for(answers)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, ["/?q=red", "/api/v1/search?q=blue", "/thumbnails/1", "/images/2"] * 10)) == {200}


def test_a_taken_port_is_an_error(home):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"Can't listen on 127.0.0.1:{port} .*--port"):
            run(create_app(home, FakeEncoder()), port=port)


def test_once_it_is_ready_no_query_waits_for_the_words_to_be_indexed(home, monkeypatch):
    client = create_app(home, lambda: FakeEncoder()).test_client()
    wait_for(lambda: client.get("/readyz").status_code == 200)
    monkeypatch.setattr("search.retrieval.lexical.CaptionWords", None)

    assert client.get("/api/v1/search?q=red&mode=lexical").json["total"] > 0
