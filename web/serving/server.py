"""Serves the application with waitress."""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
from collections.abc import Callable

import waitress
from flask import Flask

from web.errors import PortTaken
from web.serving.slow_clients import SlowClientLimits, limit_slow_clients

LARGEST_BODY = 64 * 1024 * 1024
"""Beyond this waitress itself refuses a request; the application's own, lower limit has a better answer."""

LARGEST_HEADER = 32 * 1024
LARGEST_PENDING = 64 * 1024 * 1024
"""So much of an answer may wait, on disk, for a client to take it; beyond, its thread waits too."""

THREADS = 40
"""More than all gates of the application let in and let wait together: else a thumbnail, which needs none, would wait behind
them, and nobody would be told to come again."""

MOST_CONNECTIONS = 1000
"""Beyond so many none is accepted. Those who only ask make room before; it takes hundreds that don't take their answers."""


def run(
    app: Flask,
    host: str = "127.0.0.1",
    port: int = 8000,
    threads: int = THREADS,
    listening: Callable[[], None] = lambda: None,
    patience: SlowClientLimits = SlowClientLimits(),  # noqa: B008 - it is frozen
) -> None:
    """Serves until interrupted or told to exit, and ends what is being answered; calls `listening` once it takes connections.
    `patience` is what slow clients are allowed.

    Raises PortTaken where `host:port` can't be listened on.
    """
    sockets: dict[int, object] = {}
    try:
        server = waitress.create_server(
            app,
            map=sockets,
            host=host,
            port=port,
            threads=threads,
            ident="panoptes",
            max_request_body_size=LARGEST_BODY,
            max_request_header_size=LARGEST_HEADER,
            connection_limit=MOST_CONNECTIONS,
            channel_timeout=int(max(patience.heading, patience.sending, patience.taking)),
            outbuf_high_watermark=LARGEST_PENDING,
            asyncore_use_poll=hasattr(select, "poll"),  # select() can't take file descriptors beyond 1023
        )
    except OSError as error:
        raise _taken(host, port, error.strerror or str(error)) from error
    except ValueError as error:  # what waitress makes of a host that can't be resolved
        raise PortTaken(f"Can't listen on {host}:{port}: name an address of this machine with --host.") from error
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # else a line for each request that has to wait
    limit_slow_clients(sockets.values(), patience)
    listening()
    try:
        server.run()
    finally:
        server.close()


def check_port(host: str, port: int) -> None:
    """Raises PortTaken where somebody else listens on `host:port`, or it is not ours to; for whoever has work to do before
    `run`, which finds all else."""
    try:
        for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            socket.create_server(address[:2], family=family).close()
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise _taken(host, port, os.strerror(error.errno)) from error


def _taken(host: str, port: int, why: str) -> PortTaken:
    return PortTaken(f"Can't listen on {host}:{port} ({why}): choose another port with --port (`make demo PORT=8001`).")
