"""Which proxy of the environment to ask for an address, if any."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def proxy_for(url: str) -> str | None:
    """The proxy that `http_proxy` or `https_proxy` names for a URL; None where it is to be asked directly.

    An address of this machine is always asked directly: no proxy can reach it. For others `no_proxy` counts too.
    """
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or not parts.hostname or is_this_machine(parts.hostname) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxy if "//" in proxy else f"http://{proxy}"


def without_password(proxy: str) -> str:
    """A proxy's address without the name and password that may stand in it."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_this_machine(host: str) -> bool:
    """True if a host's name or address is this machine's own. A name that is not known here is another machine's."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or name == socket.gethostname().lower():
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(_is_own(family, address) for family, _, _, _, address in found)


def _is_own(family: socket.AddressFamily, address: tuple) -> bool:
    """True if an address is one of this machine's: only then can a socket be bound to it."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address[0], 0, *address[2:]))
        return True
    except OSError:
        return False
