"""Many readers of one stream over sockets, and how old each token is when its bytes arrive."""

from __future__ import annotations

import re
import selectors
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Readers"]

_TOKEN = re.compile(rb"@(\d{13}\.\d)")


class Readers:
    """``count`` connections that read a stream in one thread, which does nothing but note the times."""

    def __init__(self, url: str, path: str, count: int) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
        self._count = count
        self.whole = 0
        self._seen: list[tuple[float, float]] = []  # when a token was said, and when its bytes arrived
        self._joined: list[float] = []  # when each connection was sent something
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._read)

    def start(self) -> None:
        """Connect all, and begin to read."""
        for _ in range(self._count):
            connection = socket.create_connection(self._address)
            connection.sendall(self._request)
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ, bytearray())
        self._thread.start()

    def join(self) -> list[float]:
        """Wait until all have read to the end; return the ages, in milliseconds, of the tokens that all waited for."""
        self._thread.join(120)
        began = max(self._joined)
        return [arrived - said for said, arrived in self._seen if said > began]

    def _read(self) -> None:
        open_ones = self._count
        joined = set[int]()
        while open_ones:
            for key, _ in self._selector.select(30):
                connection: Any = key.fileobj
                data = connection.recv(65536)
                now = time.time() * 1000
                rest: bytearray = key.data
                rest += data
                found = _TOKEN.findall(rest)
                if key.fd not in joined:
                    joined.add(key.fd)
                    self._joined.append(now)
                self._seen += [(float(token), now) for token in found]
                if found or len(rest) > 200:
                    del rest[: max(0, len(rest) - 20)]
                    if found:
                        rest[:] = rest[rest.rfind(b" ") + 1 :]
                if not data or b"event: done" in data:
                    self.whole += b"event: done" in data
                    self._selector.unregister(connection)
                    connection.close()
                    open_ones -= 1
