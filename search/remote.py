"""An HTTP client of a Panoptes server, for `manage.py search --server`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener
from uuid import uuid4

from search.errors import ProxyReadsToken, Redirected, ServerRefused, Unreachable
from search.proxies import proxy_for, without_password

SECONDS = 60
LARGEST_ANSWER = 64 * 1024 * 1024
LONGEST_DETAIL = 500
EXPECTED = {"terms", "notices", "relevance", "hits", "took_ms", "cursor"}


def search(
    server: str,
    parameters: Mapping[str, object],
    token: str | None = None,
    path: str = "/api/v1/search",
    photo: bytes | None = None,
) -> dict[str, Any]:
    """Search on a server.

    Args:
        server: such as "http://127.0.0.1:8000".
        parameters: those of the API; None and False are left out.
        token: sent as a bearer token.
        path: of the API's search.
        photo: the bytes of an image file to search with.

    Returns:
        What `SearchResult.as_json` gives on the server.

    Raises:
        ServerRefused: the server did not answer the query, and said why.
        Unreachable: there is no such server, or it is not one of ours.
        Redirected: the server redirects to another one.
        ProxyReadsToken: a proxy of the environment would be asked by plain HTTP, and could read the token.
    """
    _check_address(server)
    given = {
        name: "true" if value is True else value
        for name, value in parameters.items()
        if value is not None and value is not False
    }
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    body, described = (None, {}) if photo is None else _form(photo)
    request = Request(f"{server.rstrip('/')}{path}?{urlencode(given)}", data=body, headers=headers | described)
    proxy = proxy_for(server)
    if proxy and token and urlsplit(server).scheme == "http":
        raise ProxyReadsToken(server, without_password(proxy))
    way = "" if proxy is None else f"through the proxy {without_password(proxy)}: "
    opener = build_opener(_WithinOrigin, ProxyHandler({urlsplit(server).scheme: proxy} if proxy else {}))
    try:
        with opener.open(request, timeout=SECONDS) as response:
            return _json(response.read(LARGEST_ANSWER), server, way)
    except HTTPError as error:
        raise ServerRefused(_detail(error, way)) from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        raise Unreachable(server, way + " ".join(str(getattr(error, "reason", error)).split())) from error


def _check_address(server: str) -> None:
    """Check that this can be a server's address.

    Raises:
        Unreachable: it can't.
    """
    try:
        parts = urlsplit(server)
        if parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port):
            return
    except ValueError:  # no port, or no IPv6 address in the brackets
        pass
    host = server.partition("://")[2].partition("/")[0]
    if host.count(":") > 1 and "[" not in host:
        raise Unreachable(server, f"an IPv6 address stands in brackets: {_in_brackets(server, host)}")
    raise Unreachable(server, "it is no address such as http://127.0.0.1:8000")


def _in_brackets(server: str, host: str) -> str:
    """The address that was probably meant: a last part of four digits or more is taken for a port."""
    address, _, port = host.rpartition(":")
    meant = f"[{address}]:{port}" if len(port) > 3 and port.isdecimal() else f"[{host}]"
    return server.replace(host, meant, 1)


class _WithinOrigin(HTTPRedirectHandler):
    """Follows redirects to the same scheme, host and port only, because urllib would send the token to any.

    A redirect loses the photo, so a request with a photo is not redirected at all.
    """

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if _origin(newurl) != _origin(req.full_url):
            raise Redirected(req.full_url, newurl)
        return None if req.data else super().redirect_request(req, fp, code, msg, headers, newurl)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def token_of_environment() -> str | None:
    """The token to send: PANOPTES_TOKEN, or PANOPTES_READ_TOKEN if that is not set."""
    return os.environ.get("PANOPTES_TOKEN") or os.environ.get("PANOPTES_READ_TOKEN") or None


def _form(photo: bytes) -> tuple[bytes, dict[str, str]]:
    """Write a form with the photo in it; returns it with the header that describes it."""
    boundary = uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="photo"\r\n\r\n'
    return (
        head.encode() + photo + f"\r\n--{boundary}--\r\n".encode(),
        {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )


def _json(content: bytes, server: str, way: str) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise Unreachable(server, f"{way}its answer is no JSON") from error
    if not isinstance(answer, dict) or not answer.keys() >= EXPECTED:
        raise Unreachable(server, f"{way}its answer is not that of Panoptes")
    return answer


def _detail(error: HTTPError, way: str) -> str:
    """The `detail` of a problem document on one line, or the status if there is none."""
    try:
        detail = json.loads(error.read(LARGEST_ANSWER))["detail"]
        return " ".join(str(detail).split())[:LONGEST_DETAIL]
    except (ValueError, LookupError, TypeError, OSError, HTTPException):
        if way:
            return f"{way[:1].upper()}{way[1:]}the answer is {error.code} {error.reason}, not that of Panoptes."
        return f"The server answers {error.code} {error.reason}: is it one of Panoptes, and the address right?"
