"""Who may ask: everyone on this machine, or whoever has a token."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from flask import Flask, g, request
from werkzeug.datastructures import Authorization

from web.errors import BadToken, CrossSite, NotAllowed, Unauthorized, Unguarded, WebError, WrongHost

SHORTEST_TOKEN = 16
READING = ("GET", "HEAD", "OPTIONS")
OPEN = ("health.healthz", "health.readyz", "static")


@dataclass(frozen=True)
class Tokens:
    """The secrets that let someone in: `full` for everything, `read` for all but sending. None: there is none."""

    full: str | None = field(default=None, repr=False)
    read: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Tokens:
        """PANOPTES_TOKEN and PANOPTES_READ_TOKEN; raises BadToken for one that can be guessed, or for equal ones."""
        full, read = (environment.get(name) or None for name in ("PANOPTES_TOKEN", "PANOPTES_READ_TOKEN"))
        for name, token in (("PANOPTES_TOKEN", full), ("PANOPTES_READ_TOKEN", read)):
            if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
                raise BadToken(
                    f"{name} must be at least {SHORTEST_TOKEN} printable ASCII characters: make one with "
                    '`python -c "import secrets; print(secrets.token_urlsafe(24))"`.'
                )
        if full is not None and full == read:
            raise BadToken("PANOPTES_TOKEN and PANOPTES_READ_TOKEN are the same: make them two.")
        return cls(full, read)

    def __bool__(self) -> bool:
        return bool(self.full or self.read)


def check_address(host: str, tokens: Tokens) -> None:
    """Raises Unguarded where others than this machine could ask without a token."""
    if not is_local(host) and not tokens.full:
        raise Unguarded(
            f"Listening on {host} would let others in: set PANOPTES_TOKEN to a secret that they have to give, or "
            "leave --host out."
        )


def is_local(host: str) -> bool:
    """Whether an address, or the name in a request's, is of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def guard(app: Flask, tokens: Tokens, local_only: bool) -> None:
    """Refuses requests without a token where there is one; those that a page elsewhere had a browser send; and, with
    `local_only`, those to a name that is not this machine's, which a page elsewhere can make its own name point to.
    """

    @app.before_request
    def allowed() -> None:
        if local_only and not is_local(_name(request.environ.get("HTTP_HOST", ""))):
            raise WrongHost
        if request.method not in READING and _is_from_elsewhere():
            raise CrossSite
        g.may_send = not tokens
        if tokens and request.endpoint not in OPEN:
            g.may_send = _check(given(request.authorization), tokens)


def _is_from_elsewhere() -> bool:
    """Whether a page of another site had a browser send this. Browsers say so by Sec-Fetch-Site, but over plain HTTP only to
    this machine; else by Origin. Programs send neither."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return site not in ("none", "same-origin")
    return origin is not None and origin.partition("://")[2].lower() != request.environ.get("HTTP_HOST", "").lower()


def refusals(endpoint: str, method: str) -> tuple[type[WebError], ...]:
    """What `guard` may refuse a request to a route with, for the API's document."""
    sends, guarded = method not in READING, endpoint not in OPEN
    return (
        WrongHost,
        *([CrossSite] if sends else []),
        *([Unauthorized] if guarded else []),
        *([NotAllowed] if sends and guarded else []),
    )


def given(authorization: Authorization | None) -> str:
    """The token of `Authorization: Bearer TOKEN`, or of a browser's Basic form, as the password; "" where there is none."""
    if authorization is None:
        return ""
    return (authorization.token if authorization.type == "bearer" else authorization.password) or ""


def _check(token: str, tokens: Tokens) -> bool:
    """Whether who has this token may send; raises Unauthorized or NotAllowed."""
    may_send = _same(token, tokens.full)  # both are always compared, so that the time tells nothing
    may_read = _same(token, tokens.read)
    if not may_send and not may_read:
        raise Unauthorized
    if not may_send and request.method not in READING:
        raise NotAllowed
    return may_send


def _same(token: str, expected: str | None) -> bool:
    return hmac.compare_digest(token.encode(), (expected or "").encode()) and expected is not None


def _name(host: str) -> str:
    """A Host header without its port."""
    end = host.find("]") + 1 if host.startswith("[") else host.find(":")
    return (host[:end] if end > 0 else host).lower()
