"""How many may search at once, and what the others are told."""

from __future__ import annotations

import io
import threading
import time

import pytest

from storage import Home
from tests.support.fakes import FakeEncoder, jpeg
from tests.support.galleries import build_gallery
from web import create_app
from web.admission import AdmissionControl
from web.build_runner import CommandBuilds
from web.editing import HomeEditor
from web.error_handlers import PROBLEM
from web.errors import Busy
from web.serving.server import THREADS
from web.state import state_of


class Holder:
    """Stands in a gate until it is let go."""

    def __init__(self, gate: AdmissionControl) -> None:
        self.inside, self.go = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._stand, args=(gate,))
        self.thread.start()

    def _stand(self, gate: AdmissionControl) -> None:
        with gate.passing():
            self.inside.set()
            self.go.wait(20)

    def leave(self) -> None:
        self.go.set()
        self.thread.join()


def test_one_more_than_may_wait_is_told_at_once():
    gate = AdmissionControl(most=1, most_waiting=0, patience=20)
    holder = Holder(gate)
    holder.inside.wait(10)

    with pytest.raises(Busy, match="try again"), gate.passing():
        pass
    holder.leave()
    with gate.passing():
        assert gate.inside == 1
    assert (gate.inside, gate.waiting) == (0, 0)


def test_who_waits_comes_in_when_another_leaves():
    gate = AdmissionControl(most=1, most_waiting=1, patience=20)
    first = Holder(gate)
    first.inside.wait(10)
    second = Holder(gate)
    assert not second.inside.is_set()

    first.leave()

    assert second.inside.wait(10)
    second.leave()


def test_who_waits_comes_in_before_one_who_leaves_and_comes_again():
    gate, order = AdmissionControl(most=1, most_waiting=1, patience=20), []

    def come(name: str) -> None:
        with gate.passing():
            order.append(name)

    waiting = threading.Thread(target=come, args=("who waited",))
    with gate.passing():
        waiting.start()
        while not gate.waiting:
            time.sleep(0.001)
    for _ in range(3):
        come("who came again")
    waiting.join()

    assert order[0] == "who waited" and (gate.inside, gate.waiting) == (0, 0)


def test_patience_ends():
    gate = AdmissionControl(most=1, most_waiting=1, patience=0.01)
    holder = Holder(gate)
    holder.inside.wait(10)

    with pytest.raises(Busy), gate.passing():
        pass
    assert gate.waiting == 0
    holder.leave()


def test_an_error_inside_frees_the_place():
    gate = AdmissionControl(most=1, most_waiting=0, patience=1)
    with pytest.raises(ZeroDivisionError), gate.passing():
        raise ZeroDivisionError
    with gate.passing():
        pass


def test_a_search_too_many_is_503_and_says_when_to_ask_again(tmp_path):
    build_gallery(tmp_path)
    app = create_app(Home(tmp_path / "var"), FakeEncoder())
    gate = state_of(app).service.gate = AdmissionControl(most=1, most_waiting=0, patience=1)
    holder = Holder(gate)
    holder.inside.wait(10)
    client = app.test_client()

    refused = client.get("/api/v1/search?q=red")

    assert refused.status_code == 503 and refused.mimetype == PROBLEM
    assert refused.headers["Retry-After"] == "1" and refused.json["type"] == "urn:panoptes:problem:busy"
    page = client.get("/?q=red")
    assert page.status_code == 503 and "Too much at once" in page.text
    assert client.get("/thumbnails/1").status_code == client.get("/").status_code == 200
    assert "panoptes_searches_running 1.0" in client.get("/metrics").text
    holder.leave()
    assert client.get("/api/v1/search?q=red").status_code == 200


def test_the_server_has_threads_left_when_all_gates_are_full(tmp_path):
    state = state_of(create_app(Home(tmp_path), FakeEncoder()))
    gates = [state.service.gate, state.reader.gate, state.changing]
    assert sum(map(held_by, gates)) + 8 <= THREADS


def held_by(gate: AdmissionControl) -> int:
    """How many threads a gate holds before it sends one away."""
    leave, away, held = threading.Event(), threading.Event(), []

    def come() -> None:
        try:
            with gate.passing():
                leave.wait(20)
        except Busy:
            away.set()

    while not away.is_set():
        held.append(threading.Thread(target=come))
        held[-1].start()
        while gate.inside + gate.waiting < len(held) and not away.is_set():
            time.sleep(0.001)
    leave.set()
    for thread in held:
        thread.join()
    return len(held) - 1


def test_one_application_never_waits_for_another(tmp_path):
    build_gallery(tmp_path)
    home, encoder = Home(tmp_path / "var"), FakeEncoder()
    one, other = (create_app(home, encoder, editor=HomeEditor(home, CommandBuilds(home))) for _ in range(2))
    holders = [Holder(gate) for gate in (state_of(one).reader.gate, state_of(one).changing)]
    assert all(holder.inside.wait(10) for holder in holders)

    added = other.test_client().post("/api/v1/images", data={"image": (io.BytesIO(jpeg("white")), "white.jpg")})

    assert added.status_code == 201
    assert state_of(one).reader.decoder._process is None and state_of(other).reader.decoder._process.is_alive()
    assert not {id(held) for held in vars(state_of(one)).values()} & {id(held) for held in vars(state_of(other)).values()}
    for holder in holders:
        holder.leave()
    state_of(other).reader.decoder.close()
