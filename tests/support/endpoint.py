"""A chat completions endpoint on loopback, over real sockets, that behaves or misbehaves as a test asks.

In a test::

    async with Endpoint(Reply(texts("Hello", " world"))) as endpoint:
        model = OpenAIModel("any", base_url=endpoint.base_url)

For tests that start processes: ``python -m tests.support.endpoint --recording FILE --delay-ms 20 --port 0``. It prints
one JSON line for each thing that happens: ``{"event": "listening", "url": …}``, ``request``, ``finished`` and
``disconnected``. With a folder for FILE, the request's ``model`` names the recording.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self


@dataclass(frozen=True)
class Reply:
    """An answer to one request.

    ``data`` is the data of each message, one ``data:`` line each. ``split`` cuts the whole body into the pieces that
    are sent (one HTTP chunk each, where ``framing`` is chunked); without it each message is a piece. ``cut_after`` ends
    the connection after so many messages, ``stall_after`` keeps it open and says nothing more, and ``hang_up`` ends it
    before any answer. ``comments`` so many comments come before the first message, each after the delay. ``body`` is
    sent in place of messages. With ``names_events`` each message has its ``type`` as its ``event:``.
    """

    data: Sequence[str] = ()
    done: bool = True
    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = "text/event-stream"
    delay_s: float = 0.0
    newline: str = "\n"
    comments: int = 0
    comment: str | None = None
    split: Callable[[bytes], Iterable[bytes]] | None = None
    framing: Literal["chunked", "close"] = "chunked"
    cut_after: int | None = None
    stall_after: int | None = None
    hang_up: bool = False
    silent: bool = False
    names_events: bool = False

    def frames(self) -> list[bytes]:
        """Return the messages as they go over the wire."""
        if self.body is not None:
            return [self.body]
        line_end = self.newline
        comment = f": {self.comment}{line_end * 2}" if self.comment is not None else ""
        data = [*self.data, "[DONE]"] if self.done else self.data
        frames = [
            f"{comment}{self._name_of(item)}data: {item}{line_end * 2}".encode("utf-8", "surrogatepass")
            for item in data
        ]
        return [f": wait{line_end * 2}".encode()] * self.comments + frames

    def _name_of(self, item: str) -> str:
        return f"event: {json.loads(item)['type']}{self.newline}" if self.names_events else ""


@dataclass
class Exchange:
    """One request that came, and what became of its answer."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    connection: int
    sent: int = 0
    finished: bool = False
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def body(self) -> Any:
        """The request's JSON."""
        return json.loads(self.raw)


Script = Reply | Callable[[Exchange], Reply]


class Endpoint:
    """Answers requests with ``script``, in order; the last one answers all that follow."""

    def __init__(
        self, *script: Script, port: int = 0, report: Callable[[str, Exchange], None] = lambda _event, _exchange: None
    ) -> None:
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self._script = script
        self._port = port
        self._report = report
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(Peer(reader, writer, self.connections)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, peer: Peer) -> None:
        try:
            while (exchange := await peer.read_request()) is not None:
                self.exchanges.append(exchange)
                self._report("request", exchange)
                step = self._script[min(len(self.exchanges), len(self._script)) - 1]
                try:
                    reply = step if isinstance(step, Reply) else step(exchange)
                except LookupError as error:
                    reply = failure(404, str(error))
                if not await self._answer(peer, exchange, reply):
                    return
        finally:
            await peer.close()

    async def _answer(self, peer: Peer, exchange: Exchange, reply: Reply) -> bool:
        """Answer one request, watching whether the client stays; say whether the connection goes on."""
        writing = asyncio.create_task(self._write(peer, exchange, reply))
        watching = asyncio.create_task(peer.wait_for_client())
        try:
            await asyncio.wait({writing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and not writing.exception():
                return writing.result()
            exchange.disconnected.set()
            self._report("disconnected", exchange)
            return False
        finally:
            for task in (writing, watching):
                task.cancel()
            await asyncio.gather(writing, watching, return_exceptions=True)

    async def _write(self, peer: Peer, exchange: Exchange, reply: Reply) -> bool:
        if reply.hang_up:
            return False
        if reply.silent:
            await asyncio.Event().wait()
        chunked = reply.framing == "chunked"
        headers = {"Transfer-Encoding": "chunked"} if chunked else {"Connection": "close"}
        if reply.content_type is not None:
            headers["Content-Type"] = reply.content_type
        head = [f"HTTP/1.1 {reply.status} Whatever", *(f"{k}: {v}" for k, v in {**headers, **reply.headers}.items())]
        await peer.write("\r\n".join([*head, "", ""]).encode())
        frames = reply.frames()
        if reply.split is not None:
            pieces = iter(reply.split(b"".join(frames[: reply.cut_after])))
            while batch := [chunk(piece) if chunked else piece for piece in islice(pieces, 500)]:
                await peer.write(b"".join(batch))
            frames = [] if reply.cut_after is None else frames
        for number, frame in enumerate(frames):
            if reply.cut_after == number:
                return False
            if reply.stall_after == number:
                await asyncio.Event().wait()
            if reply.delay_s:
                await asyncio.sleep(reply.delay_s)
            if reply.split is None:
                await peer.write(chunk(frame) if chunked else frame)
            exchange.sent += 1
        if reply.cut_after is not None:
            return False
        if chunked:
            await peer.write(b"0\r\n\r\n")
        exchange.finished = True
        self._report("finished", exchange)
        return chunked


class Peer:
    """One connection, of which requests are read and answers are written."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self._reader = reader
        self._writer = writer
        self._number = number
        self._ahead = b""  # the first byte of the next request

    async def read_request(self) -> Exchange | None:
        try:
            head = self._ahead + await self._reader.readuntil(b"\r\n\r\n")
            self._ahead = b""
            first, *lines = head.decode("latin-1").rstrip().split("\r\n")
            method, path, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            raw = await self._reader.readexactly(int(headers.get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return Exchange(method, path, headers, raw, self._number)

    async def wait_for_client(self) -> None:
        """Return when the client has gone; a client that sends its next request has not."""
        with contextlib.suppress(ConnectionError):
            if byte := await self._reader.read(1):
                self._ahead += byte
                await asyncio.Event().wait()

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


def chunk(data: bytes) -> bytes:
    """Make a chunk of a chunked body; none of nothing, which would end it."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n" if data else b""


# --- what to say -----------------------------------------------------------------------------------------------------


def delta(finish: str | None = None, **fields: Any) -> str:
    """Make the data of one chunk whose delta has ``fields``."""
    return json.dumps({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}, ensure_ascii=False)


def usage(prompt: int, completion: int) -> str:
    """Make the data of the chunk that tells the usage."""
    return json.dumps({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})


def texts(*pieces: str, finish: str = "stop") -> list[str]:
    """Make the chunks of a reply whose text comes in ``pieces``."""
    return [delta(role="assistant", content=""), *(delta(content=piece) for piece in pieces), delta(finish)]


def failure(status: int, message: str, *, code: str | None = None, **headers: str) -> Reply:
    """Make an error answer as OpenAI's API does; ``retry_after="0"`` becomes the header Retry-After."""
    body = json.dumps({"error": {"message": message, "type": "test_error", "param": None, "code": code}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, body=body, content_type="application/json", headers=named)


def every(size: int) -> Callable[[bytes], Iterable[bytes]]:
    """Cut a body into pieces of ``size`` bytes."""
    return lambda body: [body[start : start + size] for start in range(0, len(body), size)]


# --- as a process ----------------------------------------------------------------------------------------------------


def _recorded(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


async def _serve_recordings(options: argparse.Namespace) -> None:
    def script(exchange: Exchange) -> Reply:
        if options.status != 200:
            return failure(options.status, f"told to answer {options.status}")
        path: Path = options.recording
        if path.is_dir():
            path /= f"{exchange.body.get('model')}.jsonl"
            if not path.is_file():
                raise LookupError(f"there is no recording {path.stem}")
        return Reply(
            _recorded(path),
            delay_s=options.delay_ms / 1000,
            newline="\r\n" if options.crlf else "\n",
            split=every(options.piece_bytes) if options.piece_bytes else None,
            cut_after=options.cut_after,
            stall_after=options.stall_after,
        )

    def report(event: str, exchange: Exchange) -> None:
        about = {"event": event, "connection": exchange.connection, "sent": exchange.sent}
        if event == "request":
            about |= {"path": exchange.path, "body": exchange.body}
        print(json.dumps(about), flush=True)

    async with Endpoint(script, port=options.port, report=report) as endpoint:
        print(json.dumps({"event": "listening", "url": endpoint.base_url}), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve recordings until interrupted."""
    parser = argparse.ArgumentParser(description="Serve recorded chat completions on loopback.")
    parser.add_argument("--recording", type=Path, required=True, help="a .jsonl file, or a folder of them")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="before each message")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--status", type=int, default=200, help="answer with this error instead")
    parser.add_argument("--cut-after", type=int, help="end the connection after so many messages")
    parser.add_argument("--stall-after", type=int, help="fall silent after so many messages")
    parser.add_argument("--piece-bytes", type=int, help="cut the body into pieces of this size")
    parser.add_argument("--crlf", action="store_true", help="end lines with CR LF")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve_recordings(parser.parse_args()))


if __name__ == "__main__":
    main()
