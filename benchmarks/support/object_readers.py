"""Many readers of one stream over sockets, and how old each message is when its bytes arrive."""

from __future__ import annotations

import gc
import selectors
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Readers"]

TIME_CHARS = 15
"""Characters of the time in a token, in milliseconds since the epoch."""


class Readers:
    """``count`` connections that read a stream in one thread, which does little more than note the times.

    Of the tokens that arrive together the first counts, which is the oldest.
    """

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
            self._selector.register(connection, selectors.EVENT_READ)
        self._thread.start()

    def wait_until_joined(self) -> None:
        """Wait until each connection has been sent something."""
        while len(self._joined) < self._count:
            assert self._thread.is_alive(), "The readers have ended"
            time.sleep(0.01)

    def join(self) -> list[float]:
        """Wait until all have read to the end; return the ages, in milliseconds, of the tokens that all waited for."""
        self._thread.join(120)
        began = max(self._joined)
        return [arrived - said for said, arrived in self._seen if said > began]

    def _read(self) -> None:
        joined = set[int]()
        seen, clock = self._seen, time.time
        gc.disable()
        try:
            while self._selector.get_map():
                for key, _ in self._selector.select(30):  # for each message of each reader: little work
                    connection: Any = key.fileobj
                    data = connection.recv(65536)
                    now = clock() * 1000
                    place = data.find(b"@")
                    if place >= 0 and len(data) > place + TIME_CHARS:
                        seen.append((float(data[place + 1 : place + 1 + TIME_CHARS]), now))
                    if key.fd not in joined:
                        joined.add(key.fd)
                        self._joined.append(now)
                    if not data or b"event: done" in data:
                        self.whole += b"event: done" in data
                        self._selector.unregister(connection)
                        connection.close()
        finally:
            gc.enable()
