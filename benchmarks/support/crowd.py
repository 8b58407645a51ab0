"""Many followers in one process, as cheap as can be: bare sockets, and nothing is looked at before the end.

``python -m benchmarks.support.crowd PORT STREAMS FOLLOWERS TOKENS RATE LIMIT_S [FORMAT]`` begins the streams, follows
them in a wire format (our own by default), prints ``"ready"``, and at a line on its standard input says ``POST /go``
and receives until all streams have ended, or the time is up. Then it prints the delays and how busy it was itself.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

from .clocked import ClockedText, now_us
from .formats import FORMATS, OWN, Format
from .measure import cpu_seconds, percentile
from .serving import open_many_files

END = b"0\r\n\r\n"
"""The last chunk of an answer, whatever its format; no token ends in a 0 before a line break."""


class Follower:
    """One connection, with the bytes that came over it and their times."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.sendall(request)
        self.pieces: list[tuple[int, bytes]] = []
        self.ended = False
        self.head = b""

    def read_head(self) -> None:
        """Wait for the head of the answer."""
        while b"\r\n\r\n" not in self.head:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError(f"The server closed the connection: {self.head!r}")
            self.head += data
        if not self.head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"The server answered {self.head!r}")
        self.head, _, rest = self.head.partition(b"\r\n\r\n")
        self.pieces.append((now_us(), rest))
        self.socket.setblocking(False)

    @property
    def stream_id(self) -> str:
        """The id of the stream, where the answer tells it."""
        for line in self.head.decode().splitlines():
            name, _, value = line.partition(":")
            if name.lower() == "x-stream-id":
                return value.strip()
        return ""  # of formats whose streams are found by their session

    def receive(self) -> None:
        """Take what is there."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        self.pieces.append((now_us(), data))
        last = data if len(data) >= len(END) else self.pieces[-2][1][-len(END) :] + data
        if not data or last.endswith(END):
            self.ended = True

    def delays(self) -> list[float]:
        """Return the age of each token."""
        text = ClockedText()
        for arrived, data in self.pieces:
            text.take(data, arrived)
        return text.delays_ms


def follow_all(port: int, streams: int, followers: int, tokens: int, rate: float, form: Format) -> list[Follower]:
    """Begin the streams, each with its first follower, and add the others."""
    crowd: list[Follower] = []
    ids: list[str] = []
    for number in range(streams):
        prompt = f"{tokens} {rate} {number / streams / rate}"
        crowd.append(Follower(port, form.begin(f"s{number}", prompt)))
        crowd[-1].read_head()
        ids.append(crowd[-1].stream_id)
    for number in range(streams, followers):
        stream = number % streams
        crowd.append(Follower(port, form.follow(f"s{stream}", ids[stream])))
        if number % 100 == 99:
            for follower in crowd:
                if not follower.head:
                    follower.read_head()
    for follower in crowd:
        if not follower.head:
            follower.read_head()
    return crowd


def receive_all(crowd: list[Follower], limit_s: float) -> None:
    """Receive until every stream has ended, or the time is up."""
    poll = select.epoll()
    by_number = {follower.socket.fileno(): follower for follower in crowd}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    left = len(crowd)
    deadline = time.monotonic() + limit_s
    while left and time.monotonic() < deadline:
        for number, _ in poll.poll(0.5):
            follower = by_number[number]
            follower.receive()
            if follower.ended:
                poll.unregister(number)
                left -= 1


def main() -> None:
    """Be the crowd."""
    port, streams, followers, tokens = map(int, sys.argv[1:5])
    rate, limit_s = map(float, sys.argv[5:7])
    form = FORMATS[sys.argv[7] if len(sys.argv) > 7 else OWN]
    open_many_files()
    crowd = follow_all(port, streams, followers, tokens, rate, form)
    print(json.dumps("ready"), flush=True)
    sys.stdin.readline()
    go = socket.create_connection(("127.0.0.1", port))
    go.sendall(b"POST /go HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    cpu, began = cpu_seconds(), time.perf_counter()
    receive_all(crowd, limit_s)
    cpu, seconds = cpu_seconds() - cpu, time.perf_counter() - began
    by_follower = [follower.delays() for follower in crowd]
    delays = [delay for found in by_follower for delay in found]
    figures = {
        "p50_ms": round(percentile(delays, 50), 2),
        "p99_ms": round(percentile(delays, 99), 2),
        "max_ms": round(max(delays), 2),
        "worst_follower_p99_ms": round(max(percentile(found, 99) for found in by_follower if found), 2),
        "delivered_percent": round(100 * len(delays) / (followers * tokens), 3),
        "chunks_per_second": round(len(delays) / seconds, 1),
        "tokens_per_message": round(len(delays) / sum(len(follower.pieces) for follower in crowd), 2),
        "client_cpu_percent": round(100 * cpu / seconds, 1),
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
