"""A light HTTP client: hundreds of them can run beside the server that they load."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

BOUNDARY = "panoptes-soak"
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class Request:
    """A request: a GET, or a POST of `photo` as the form's `image`. `kind` is its row in the report."""

    kind: str
    path: str
    photo: bytes | None = None

    def as_bytes(self) -> bytes:
        """The request in HTTP/1.1."""
        if self.photo is None:
            return f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'.encode()
        body = part + self.photo + f"\r\n--{BOUNDARY}--\r\n".encode()
        head = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode() + body


class Client:
    """A client with one connection, which it keeps open as long as the server does."""

    def __init__(self, address: str) -> None:
        self._host, self._port = urlsplit(address).hostname, urlsplit(address).port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._disconnect()

    async def send(self, request: Request) -> tuple[int, dict[str, str]]:
        """Send a request and wait for the response.

        Returns:
            The status, 0 if no complete response came; and the headers, by name in lower case.
        """
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if self._writer is None:
                    self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
                self._writer.write(request.as_bytes())
                return await self._response()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            self._disconnect()
            return 0, {}

    async def _response(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        await self._reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self._disconnect()
        return int(first.split()[1]), headers

    def _disconnect(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
