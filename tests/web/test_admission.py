"""Admission control: how many searches run at once, and what the others get."""

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
    """A thread that holds a slot until it is released."""

    def __init__(self, admission: AdmissionControl) -> None:
        self.admitted, self.go = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._hold, args=(admission,))
        self.thread.start()

    def _hold(self, admission: AdmissionControl) -> None:
        with admission.slot():
            self.admitted.set()
            self.go.wait(20)

    def release(self) -> None:
        self.go.set()
        self.thread.join()


def test_one_more_than_may_wait_is_refused_at_once():
    admission = AdmissionControl(slots=1, queue_limit=0, timeout_s=20)
    holder = Holder(admission)
    holder.admitted.wait(10)

    with pytest.raises(Busy, match="try again"), admission.slot():
        pass
    holder.release()
    with admission.slot():
        assert admission.running == 1
    assert (admission.running, admission.waiting) == (0, 0)


def test_the_next_in_the_queue_is_admitted_when_a_slot_is_free():
    admission = AdmissionControl(slots=1, queue_limit=1, timeout_s=20)
    first = Holder(admission)
    first.admitted.wait(10)
    second = Holder(admission)
    assert not second.admitted.is_set()

    first.release()

    assert second.admitted.wait(10)
    second.release()


def test_the_queue_goes_before_a_thread_that_leaves_and_comes_again():
    admission, order = AdmissionControl(slots=1, queue_limit=1, timeout_s=20), []

    def come(name: str) -> None:
        with admission.slot():
            order.append(name)

    waiting = threading.Thread(target=come, args=("waited",))
    with admission.slot():
        waiting.start()
        while not admission.waiting:
            time.sleep(0.001)
    for _ in range(3):
        come("came again")
    waiting.join()

    assert order[0] == "waited" and (admission.running, admission.waiting) == (0, 0)


def test_a_wait_that_takes_too_long_is_refused():
    admission = AdmissionControl(slots=1, queue_limit=1, timeout_s=0.01)
    holder = Holder(admission)
    holder.admitted.wait(10)

    with pytest.raises(Busy), admission.slot():
        pass
    assert admission.waiting == 0
    holder.release()


def test_an_error_frees_the_slot():
    admission = AdmissionControl(slots=1, queue_limit=0, timeout_s=1)
    with pytest.raises(ZeroDivisionError), admission.slot():
        raise ZeroDivisionError
    with admission.slot():
        pass


def test_a_search_too_many_is_503_and_says_when_to_ask_again(tmp_path):
    build_gallery(tmp_path)
    app = create_app(Home(tmp_path / "var"), FakeEncoder())
    admission = state_of(app).service.admission = AdmissionControl(slots=1, queue_limit=0, timeout_s=1)
    holder = Holder(admission)
    holder.admitted.wait(10)
    client = app.test_client()

    refused = client.get("/api/v1/search?q=red")

    assert refused.status_code == 503 and refused.mimetype == PROBLEM
    assert refused.headers["Retry-After"] == "1" and refused.json["type"] == "urn:panoptes:problem:busy"
    page = client.get("/?q=red")
    assert page.status_code == 503 and "Too much at once" in page.text
    assert client.get("/thumbnails/1").status_code == client.get("/").status_code == 200
    assert "panoptes_searches_running 1.0" in client.get("/metrics").text
    holder.release()
    assert client.get("/api/v1/search?q=red").status_code == 200


def test_the_server_has_threads_left_when_all_slots_and_queues_are_full(tmp_path):
    state = state_of(create_app(Home(tmp_path), FakeEncoder()))
    admissions = [state.service.admission, state.reader.admission, state.change_admission]
    assert sum(map(capacity_of, admissions)) + 8 <= THREADS


def capacity_of(admission: AdmissionControl) -> int:
    """The number of threads that are admitted or wait before one is refused."""
    leave, refused, threads = threading.Event(), threading.Event(), []

    def come() -> None:
        try:
            with admission.slot():
                leave.wait(20)
        except Busy:
            refused.set()

    while not refused.is_set():
        threads.append(threading.Thread(target=come))
        threads[-1].start()
        while admission.running + admission.waiting < len(threads) and not refused.is_set():
            time.sleep(0.001)
    leave.set()
    for thread in threads:
        thread.join()
    return len(threads) - 1


def test_one_application_never_waits_for_another(tmp_path):
    build_gallery(tmp_path)
    home, encoder = Home(tmp_path / "var"), FakeEncoder()
    one, other = (create_app(home, encoder, editor=HomeEditor(home, CommandBuilds(home))) for _ in range(2))
    holders = [Holder(admission) for admission in (state_of(one).reader.admission, state_of(one).change_admission)]
    assert all(holder.admitted.wait(10) for holder in holders)

    added = other.test_client().post("/api/v1/images", data={"image": (io.BytesIO(jpeg("white")), "white.jpg")})

    assert added.status_code == 201
    worker = state_of(other).reader.decoder._worker
    assert state_of(one).reader.decoder._worker is None and worker is not None and worker.process.is_alive()
    assert not {id(part) for part in vars(state_of(one)).values()} & {id(part) for part in vars(state_of(other)).values()}
    for holder in holders:
        holder.release()
    state_of(other).reader.decoder.close()
