"""Serves the application with waitress."""

from __future__ import annotations

import waitress
from flask import Flask

from .errors import PortTaken

LARGEST_BODY = 64 * 1024 * 1024
"""Beyond this waitress itself refuses a request; the application's own, lower limit has a better answer."""


def run(app: Flask, host: str = "127.0.0.1", port: int = 8000, threads: int = 8) -> None:
    """Serves until interrupted; raises PortTaken where `host:port` can't be listened on."""
    try:
        server = waitress.create_server(
            app,
            host=host,
            port=port,
            threads=threads,
            ident="panoptes",
            max_request_body_size=LARGEST_BODY,
        )
    except OSError as error:
        raise PortTaken(
            f"Can't listen on {host}:{port} ({error.strerror or error}): choose another port with --port."
        ) from error
    try:
        server.run()
    finally:
        server.close()
