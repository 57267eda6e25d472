"""Access control: tokens, requests from other sites' pages, and names of this machine."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from flask import Flask, g, request
from werkzeug.datastructures import Authorization

from web.errors import BadToken, CrossSite, NotAllowed, Unauthorized, Unguarded, WebError, WrongHost

SHORTEST_TOKEN = 16
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OPEN_ENDPOINTS = ("health.healthz", "health.readyz", "static")


@dataclass(frozen=True)
class Tokens:
    """The secrets that requests need: `full` permits everything, `read` only reading. None: there is no such token."""

    full: str | None = field(default=None, repr=False)
    read: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Tokens:
        """The tokens in PANOPTES_TOKEN and PANOPTES_READ_TOKEN.

        Raises:
            BadToken: A token can be guessed, or both are the same.
        """
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
    """Check that other machines can't send requests without a token.

    Raises:
        Unguarded: They could: the address is not of this machine alone, and there is no full token.
    """
    if not is_local(host) and not tokens.full:
        raise Unguarded(
            f"Listening on {host} would let others in: set PANOPTES_TOKEN to a secret that they have to give, or "
            "leave --host out."
        )


def is_local(host: str) -> bool:
    """True if a host name or address is of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def guard(app: Flask, tokens: Tokens, local_only: bool) -> None:
    """Check every request before it is answered.

    Refused are requests without a token, if tokens are needed, and requests that another site's page had a browser send.

    Args:
        app: The application.
        tokens: The tokens that requests need.
        local_only: Refuse requests to a name that is not this machine's: another site's page can make its own name point here.
    """

    @app.before_request
    def allowed() -> None:
        if local_only and not is_local(_host_name(request.environ.get("HTTP_HOST", ""))):
            raise WrongHost
        if request.method not in SAFE_METHODS and _is_cross_site():
            raise CrossSite
        g.may_write = not tokens
        if tokens and request.endpoint not in OPEN_ENDPOINTS:
            g.may_write = _may_write(given_token(request.authorization), tokens)


def _is_cross_site() -> bool:
    """True if another site's page had a browser send this.

    Browsers say so by Sec-Fetch-Site, but over plain HTTP only to their own machine; else by Origin. Programs send neither.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return site not in ("none", "same-origin")
    return origin is not None and origin.partition("://")[2].lower() != request.environ.get("HTTP_HOST", "").lower()


def refusals(endpoint: str, method: str) -> tuple[type[WebError], ...]:
    """The errors by which `guard` may refuse a request to a route, for the API's document."""
    writes, guarded = method not in SAFE_METHODS, endpoint not in OPEN_ENDPOINTS
    return (
        WrongHost,
        *([CrossSite] if writes else []),
        *([Unauthorized] if guarded else []),
        *([NotAllowed] if writes and guarded else []),
    )


def given_token(authorization: Authorization | None) -> str:
    """The token of a request: that of `Authorization: Bearer TOKEN`, or the password of the Basic form; "" if there is none."""
    if authorization is None:
        return ""
    return (authorization.token if authorization.type == "bearer" else authorization.password) or ""


def _may_write(token: str, tokens: Tokens) -> bool:
    """True if this token permits writes.

    Raises:
        Unauthorized: The token is none of ours.
        NotAllowed: The request writes, and the token is for reading.
    """
    may_write = _same(token, tokens.full)  # both are always compared, so that the time tells nothing
    may_read = _same(token, tokens.read)
    if not may_write and not may_read:
        raise Unauthorized
    if not may_write and request.method not in SAFE_METHODS:
        raise NotAllowed
    return may_write


def _same(token: str, expected: str | None) -> bool:
    return hmac.compare_digest(token.encode(), (expected or "").encode()) and expected is not None


def _host_name(host: str) -> str:
    """A Host header without its port."""
    end = host.find("]") + 1 if host.startswith("[") else host.find(":")
    return (host[:end] if end > 0 else host).lower()
