"""Serves the application with waitress."""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
from collections.abc import Callable
from typing import Any

from flask import Flask
from waitress.server import create_server

from web.errors import PortTaken
from web.limits import LARGEST_UPLOAD, MB
from web.serving.slow_clients import SlowClientLimits, limit_slow_clients

LARGEST_BODY = LARGEST_UPLOAD + 32 * MB
"""Bytes beyond which waitress itself refuses a request. The application's own, lower limit has a better answer. What waitress
has received lies in a temporary file."""

LARGEST_HEADER = 32 * 1024
LARGEST_PENDING = 64 * 1024 * 1024
"""Bytes of an answer that may wait on disk for a client to take them; beyond that, the thread waits too."""

THREADS = 40
"""More than all `AdmissionControl`s of the application admit and let wait together. With fewer, a thumbnail would wait behind
searches, and nobody would be told to try again."""

MOST_CONNECTIONS = 1000
"""The number of connections beyond which none is accepted. Idle ones make room before that (see `slow_clients`), so it takes
hundreds of clients that don't take their answers."""


def host_and_port(host: str, port: int) -> str:
    """A host and a port as they stand in an address: an IPv6 address in brackets, so that its end can be told."""
    bare = bare_host(host)
    return f"[{bare.replace('%', '%25')}]:{port}" if ":" in bare else f"{bare}:{port}"


def bare_host(host: str) -> str:
    """A host without the brackets in which an IPv6 address may be given."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def run(
    app: Flask,
    host: str = "127.0.0.1",
    port: int = 8000,
    threads: int = THREADS,
    on_listening: Callable[[], None] = lambda: None,
    limits: SlowClientLimits = SlowClientLimits(),  # noqa: B008 - it is frozen
) -> None:
    """Serve until the process is interrupted or told to exit; finish the requests that are being answered.

    Args:
        app: The application.
        host: The address to listen on.
        port: The port to listen on.
        threads: How many requests are answered at once.
        on_listening: Called once connections are accepted.
        limits: What slow clients are allowed.

    Raises:
        PortTaken: The server can't listen on `host:port`.
    """
    host = bare_host(host)
    sockets: dict[int, Any] = {}
    try:
        server = create_server(
            app,
            map=sockets,
            host=host,
            port=port,
            threads=threads,
            ident="panoptes",
            max_request_body_size=LARGEST_BODY,
            max_request_header_size=LARGEST_HEADER,
            connection_limit=MOST_CONNECTIONS,
            channel_timeout=int(max(limits.header_s, limits.body_s, limits.response_s)),
            outbuf_high_watermark=LARGEST_PENDING,
            asyncore_use_poll=hasattr(select, "poll"),  # select() can't take file descriptors beyond 1023
        )
    except OSError as error:
        raise _port_taken(host, port, error.strerror or str(error)) from error
    except ValueError as error:  # what waitress makes of a host that can't be resolved
        raise PortTaken(f"Can't listen on {host_and_port(host, port)}: name an address of this machine with --host.") from error
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # else a line for each request that has to wait
    limit_slow_clients(sockets.values(), limits)
    on_listening()
    try:
        server.run()
    finally:
        server.close()


def check_port(host: str, port: int) -> None:
    """Check that the port is free, before work that comes before `run`; `run` finds all other problems.

    Raises:
        PortTaken: Another process listens on `host:port`, or this one may not.
    """
    try:
        for family, *_, address in socket.getaddrinfo(bare_host(host), port, type=socket.SOCK_STREAM):
            socket.create_server(address[:2], family=family).close()
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise _port_taken(host, port, os.strerror(error.errno)) from error


def _port_taken(host: str, port: int, why: str) -> PortTaken:
    return PortTaken(
        f"Can't listen on {host_and_port(host, port)} ({why}): choose another port with --port (`make demo PORT=8001`)."
    )
