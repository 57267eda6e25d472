"""Serves the application with waitress."""

from __future__ import annotations

from collections.abc import Callable

import waitress
from flask import Flask

from .errors import PortTaken

LARGEST_BODY = 64 * 1024 * 1024
"""Beyond this waitress itself refuses a request; the application's own, lower limit has a better answer."""

LARGEST_HEADER = 32 * 1024
MOST_CONNECTIONS = 200
SILENT_SECONDS = 30
"""After so long without a byte a connection is closed."""


def run(
    app: Flask,
    host: str = "127.0.0.1",
    port: int = 8000,
    threads: int = 16,
    listening: Callable[[], None] = lambda: None,
) -> None:
    """Serves until interrupted or told to exit, and ends what is being answered; calls `listening` once it takes connections.

    Raises PortTaken where `host:port` can't be listened on.
    """
    try:
        server = waitress.create_server(
            app,
            host=host,
            port=port,
            threads=threads,
            ident="panoptes",
            max_request_body_size=LARGEST_BODY,
            max_request_header_size=LARGEST_HEADER,
            connection_limit=MOST_CONNECTIONS,
            channel_timeout=SILENT_SECONDS,
        )
    except OSError as error:
        raise PortTaken(
            f"Can't listen on {host}:{port} ({error.strerror or error}): choose another port with --port."
        ) from error
    except ValueError as error:  # what waitress makes of a host that can't be resolved
        raise PortTaken(f"Can't listen on {host}:{port}: name an address of this machine with --host.") from error
    listening()
    try:
        server.run()
    finally:
        server.close()
