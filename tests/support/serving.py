"""An application behind the real server, in a thread of the tests' own process."""

from __future__ import annotations

import socket
import threading
import time
from urllib.request import urlopen

from web import run


def serve(app) -> str:
    """Serves from a thread of its own; the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    threading.Thread(target=run, args=(app,), kwargs={"port": port}, daemon=True).start()
    address = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            with urlopen(f"{address}/healthz"):
                return address
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(address)
