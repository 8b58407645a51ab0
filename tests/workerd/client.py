"""A client of the endpoints, over real sockets: what a browser does, and a browser that is closed."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from aibind.streams import SseMessage, SseParser


def read_sse(response: httpx2.Response) -> list[SseMessage]:
    """Read an answer to its end."""
    assert response.status_code == 200, response.text
    return SseParser().feed(response.content)


def text_of(messages: list[SseMessage]) -> str:
    """Join the text of an answer."""
    return "".join(message.data for message in messages if not message.event)


class Reader:
    """Sends a request and reads the answer as it comes, to be cut off at any moment by closing the socket.

    It posts ``body`` (None: it asks with GET). ``buffer_bytes`` is what the socket takes while nobody reads it.
    """

    def __init__(
        self,
        url: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        buffer_bytes: int | None = None,
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        data = b"" if body is None else json.dumps(body).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        method = "GET" if body is None else "POST"
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(data)}\r\n{more}"
            "Connection: close\r\n\r\n"
        )
        self._socket = socket.socket()
        if buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self._socket.settimeout(90)
        self._socket.connect((parts.hostname, parts.port))
        self._socket.sendall(head.encode() + data)
        self.received = b""

    def read_until(self, text: str, count: int = 1) -> bytes:
        """Read until ``text`` has come ``count`` times."""
        while self.received.count(text.encode()) < count:
            self.read_more()
        return self.received

    def read_more(self) -> None:
        """Wait for more."""
        data = self._socket.recv(65536)
        assert data, f"The answer ended: {self.received!r}"
        self.received += data

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stream_id_of(data: bytes) -> str:
    """Find the id of a stream in the beginning of its answer."""
    lines: list[Any] = data.decode(errors="replace").replace("\r", "").split("\n")
    return str(lines[lines.index("event: stream-id") + 1].removeprefix("id: "))
