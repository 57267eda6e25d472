"""Time limits for clients that are slow to send a request or to take its answer."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer


@dataclass(frozen=True)
class SlowClientLimits:
    """Limits for one connection, in seconds, and for the number of connections.

    Each time runs from the beginning of its phase to the end, however much comes meanwhile. waitress by itself closes only a
    connection that is silent: a client that sends one byte now and then holds it for good, and enough of them would keep all
    others out.

    Args:
        header_s: For a request's header, from the connection's beginning or the answer before.
        body_s: For a request's body. The largest photo takes so long at 1.4 megabits a second.
        response_s: For the client to take its answer.
        crowd: With more connections than this, the one that has been idle for longest is closed when another comes.
    """

    header_s: float = 30.0
    body_s: float = 600.0
    response_s: float = 600.0
    crowd: int = 800


class LimitedChannel(HTTPChannel):
    """A connection that knows since when it waits for the client."""

    limits = SlowClientLimits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.since = time.monotonic()
        self._phase = "header"
        super().__init__(*args, **kwargs)
        channels = cast("dict[int, LimitedChannel]", self.server.active_channels)  # the stubs say it is one channel
        make_room(channels.values(), self.limits.crowd)

    @property
    def awaits_request(self) -> bool:
        """True if nothing is being answered or sent."""
        return not self.requests and not self.total_outbufs_len

    def readable(self) -> bool:
        """Close a connection that has exceeded its limit. The server's loop asks this in every round."""
        phase = self._current_phase()
        if phase != self._phase:
            self._phase, self.since = phase, time.monotonic()
        elif time.monotonic() - self.since > self._limit_s(phase):
            self.handle_close()  # will_close would wait until something can be sent
            return False
        return super().readable()

    def service(self) -> None:
        """Answer a request, in a thread of its own; from then on the next one is awaited."""
        self.since = time.monotonic()  # before, too: the loop may ask in between
        super().service()
        self.since = time.monotonic()

    def _current_phase(self) -> str:
        if self.total_outbufs_len:
            return "response"
        if self.requests:
            return "answering"
        return "body" if self.request is not None and self.request.headers_finished else "header"

    def _limit_s(self, phase: str) -> float:
        limits = {"header": self.limits.header_s, "body": self.limits.body_s, "response": self.limits.response_s}
        return limits.get(phase, math.inf)


def make_room(channels: Iterable[LimitedChannel], crowd: int) -> None:
    """Close the channel that has awaited a request for longest, if there are more than `crowd`."""
    connected = list(channels)
    if len(connected) > crowd:
        idle = [channel for channel in connected if channel.awaits_request and not channel.will_close]
        if idle:
            min(idle, key=lambda channel: channel.since).will_close = True


def limit_slow_clients(sockets: Iterable[object], limits: SlowClientLimits) -> None:
    """Limit the connections of the servers among waitress' sockets."""
    channel_class = type("Channel", (LimitedChannel,), {"limits": limits})
    for server in sockets:
        if isinstance(server, BaseWSGIServer):
            server.channel_class = channel_class
