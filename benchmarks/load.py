"""A client that is light enough for hundreds of them to run beside the server that they ask."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

BOUNDARY = "panoptes-soak"
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Request:
    """`photo` is sent as the form's `image`; None asks with GET."""

    kind: str
    path: str
    photo: bytes | None = None

    def as_bytes(self) -> bytes:
        """The request as HTTP/1.1 has it."""
        if self.photo is None:
            return f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'.encode()
        body = part + self.photo + f"\r\n--{BOUNDARY}--\r\n".encode()
        head = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode() + body


class Client:
    """One client with one connection at a time, which it keeps as long as the server does."""

    def __init__(self, address: str) -> None:
        self._host, self._port = urlsplit(address).hostname, urlsplit(address).port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_) -> None:
        self._leave()

    async def ask(self, request: Request) -> tuple[int, dict[str, str]]:
        """The status and the headers, in small letters; status 0 where no whole answer came."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                if self._writer is None:
                    self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
                self._writer.write(request.as_bytes())
                return await self._answer()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            self._leave()
            return 0, {}

    async def _answer(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        await self._reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self._leave()
        return int(first.split()[1]), headers

    def _leave(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
