"""How long the server waits for clients that are slow: to send a request, and to take its answer."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer


@dataclass(frozen=True)
class SlowClientLimits:
    """Seconds, each from its own beginning to its own end however much comes meanwhile, and how many may be connected.

    waitress by itself ends a connection that is silent only: one byte a while holds it for good, and as many such clients as
    there may be connections would keep all others out.

    Args:
        heading: for a request's head, from the connection's beginning or the answer before.
        sending: for its body.
        taking: for its answer to be taken.
        crowd: from so many connections on, the one of which a request has been awaited for longest goes when another comes.
    """

    heading: float = 30.0
    sending: float = 120.0
    taking: float = 600.0
    crowd: int = 800


class LimitedChannel(HTTPChannel):
    """A connection that knows since when the other side is awaited."""

    patience = SlowClientLimits()

    def __init__(self, *args, **kwargs) -> None:
        self.since = time.monotonic()
        self._phase = "heading"
        super().__init__(*args, **kwargs)
        make_room(self.server.active_channels.values(), self.patience.crowd)

    @property
    def awaits_request(self) -> bool:
        """Nothing is being answered or sent."""
        return not self.requests and not self.total_outbufs_len

    def readable(self) -> bool:
        """Asked in every round of the server's loop: whoever has been awaited for too long is let go."""
        phase = self._current_phase()
        if phase != self._phase:
            self._phase, self.since = phase, time.monotonic()
        elif phase != "answering" and time.monotonic() - self.since > getattr(self.patience, phase):
            self.handle_close()  # will_close would wait until something can be sent
            return False
        return super().readable()

    def service(self) -> None:
        """Answers a request, in a thread of its own; the next is awaited from then on."""
        self.since = time.monotonic()  # before, too: the loop may look in between
        super().service()
        self.since = time.monotonic()

    def _current_phase(self) -> str:
        if self.total_outbufs_len:
            return "taking"
        if self.requests:
            return "answering"
        return "sending" if self.request is not None and self.request.headers_finished else "heading"


def make_room(channels: Iterable[LimitedChannel], crowd: int) -> None:
    """Lets the one go that a request has been awaited of for longest, where there are more than `crowd`."""
    waiting = list(channels)
    if len(waiting) > crowd:
        idle = [channel for channel in waiting if channel.awaits_request and not channel.will_close]
        if idle:
            min(idle, key=lambda channel: channel.since).will_close = True


def limit_slow_clients(sockets: Iterable[object], patience: SlowClientLimits) -> None:
    """Gives the servers among waitress' sockets such connections."""
    kind = type("Channel", (LimitedChannel,), {"patience": patience})
    for server in sockets:
        if isinstance(server, BaseWSGIServer):
            server.channel_class = kind
