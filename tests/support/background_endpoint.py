"""A loopback endpoint for background Responses: it goes on with nobody connected, and counts what it generates.

In a test::

    async with BackgroundEndpoint(tokens=50) as endpoint:
        model = OpenAIModel("any", api="responses", background=True, base_url=endpoint.base_url)

As a process: ``python -m tests.support.background_endpoint --port 0 --tokens 400 --per-second 50``. It prints its base
URL as its first line. ``GET /stats`` below its origin returns its counts as JSON, and ``POST /faults`` with the fields
of :class:`Faults` changes how it misbehaves. What it answers to a prompt is :func:`text_for`.

It answers ``POST /v1/responses``, with ``background`` or without, ``GET /v1/responses/{id}``, with ``stream=true`` and
``starting_after`` or without, and ``POST /v1/responses/{id}/cancel``. A request with ``tools`` whose input does not end
with a result is answered with some text and a call of the first tool.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qs, urlsplit

from tests.support.endpoint import Exchange, Peer, chunk

Json: TypeAlias = dict[str, Any]

ODD = ("é", "🪶", "\r\n", "  ", "\n", "漢字", "👩🏽‍🍳", "\r")
"""What some tokens end with: what has to be normalised, and what UTF-8 and UTF-16 count differently."""


def tokens_for(prompt: str, count: int) -> list[str]:
    """Make the tokens of the answer to a prompt: no two are the same, and prompts get different ones."""
    seed = zlib.crc32(prompt.encode("utf-8", "replace")) % 10_000
    return [f"{seed}-{number}{ODD[number // 7 % len(ODD)] if number % 7 == 0 else ' '}" for number in range(count)]


def text_for(prompt: str, count: int) -> str:
    """Return the text of the answer to a prompt, as readers are to have it."""
    return "".join(tokens_for(prompt, count)).replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True)
class Part:
    """A part of an answer: ``text``, ``reasoning`` or ``call``, in the pieces that it comes in; a call has a name."""

    kind: str
    pieces: Sequence[str]
    name: str = ""


@dataclass
class Faults:
    """Ways to misbehave.

    Each connection that streams is cut after ``cut_after`` events, every other time inside the next message.
    ``cut_connections`` limits how many are; None cuts all. ``refusals`` are the statuses of the next retrievals,
    ``not_streamed`` answers 400 to retrievals that stream, ``forgotten`` 404 to all retrievals, and ``numberless``
    leaves out the sequence numbers. ``ends_with`` is the status that responses end with, and ``hang_up`` closes the
    next connections that create, so many, after the response was begun, before anything is said.
    """

    cut_after: int | None = None
    cut_connections: int | None = None
    refusals: list[int] = field(default_factory=list)
    not_streamed: bool = False
    forgotten: bool = False
    numberless: bool = False
    ends_with: str = "completed"
    hang_up: int = 0


@dataclass
class Generated:
    """A response: what was asked, the events so far, and how it stands."""

    id: str
    body: Json
    parts: Sequence[Part]
    events: list[Json] = field(default_factory=list)
    status: str = "queued"
    tokens: int = 0
    output: list[Json] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ended(self) -> bool:
        return self.status not in ("queued", "in_progress")

    @property
    def prompt(self) -> str:
        return prompt_of(self.body)

    @property
    def text(self) -> str:
        return "".join(event["delta"] for event in self.events if event["type"] == "response.output_text.delta")

    def to_json(self) -> Json:
        """Return the response as a retrieval has it; its output comes when it has ended."""
        details = {"reason": "max_output_tokens"} if self.status == "incomplete" else None
        error = {"code": "server_error", "message": "told to fail"} if self.status == "failed" else None
        usage = {"input_tokens": 3, "output_tokens": self.tokens} if self.ended else None
        return {
            "object": "response", "id": self.id, "status": self.status, "model": self.body.get("model"),
            "background": bool(self.body.get("background")), "error": error, "incomplete_details": details,
            "output": self.output if self.ended else [], "usage": usage,
        }  # fmt: skip


def prompt_of(body: Mapping[str, Any]) -> str:
    """Return the last message of the user."""
    asked = body.get("input", "")
    if isinstance(asked, str):
        return asked
    said = [item.get("content", "") for item in asked if item.get("role") == "user"]
    return said[-1] if said and isinstance(said[-1], str) else json.dumps(said[-1:])


class BackgroundEndpoint:
    """Answers with ``tokens`` tokens, ``per_second`` of them in a second (0: at once), or as ``script`` says.

    ``stats`` counts requests by kind, responses, tokens, and responses that were cancelled.
    """

    def __init__(
        self,
        *,
        tokens: int = 40,
        per_second: float = 0,
        faults: Faults | None = None,
        script: Callable[[Json], Sequence[Part]] | None = None,
        port: int = 0,
    ) -> None:
        self.faults = faults or Faults()
        self.responses: dict[str, Generated] = {}
        self.stats: Counter[str] = Counter()
        self.exchanges: list[Exchange] = []
        self._tokens = tokens
        self._per_second = per_second
        self._script = script or self._answer_for
        self._port = port
        self._connections = 0
        self._cuts = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    @property
    def one(self) -> Generated:
        """The only response."""
        [one] = self.responses.values()
        return one

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        tasks = [*self._tasks, *(one.task for one in self.responses.values() if one.task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    # --- generating ---------------------------------------------------------------------------------------------------

    def _answer_for(self, body: Json) -> Sequence[Part]:
        asked = body.get("input")
        has_result = isinstance(asked, list) and asked and asked[-1].get("type") == "function_call_output"
        words = Part("text", tokens_for(prompt_of(body), self._tokens))
        if body.get("tools") and not has_result:
            arguments = json.dumps({"about": prompt_of(body)[:40]})
            return [replace(words, pieces=words.pieces[: self._tokens // 2]), Part("call", [arguments], _tool(body))]
        return [words]

    def _create(self, body: Json) -> Generated:
        self.stats["responses"] += 1
        one = Generated(f"resp_{self.stats['responses']:04}{zlib.crc32(prompt_of(body).encode()):08x}", body, [])
        one.parts = self._script(body)
        self.responses[one.id] = one
        one.task = asyncio.create_task(self._generate(one))
        return one

    async def _generate(self, one: Generated) -> None:
        clock = asyncio.get_running_loop()
        began = clock.time()
        try:
            for event in self._events(one):
                if event["type"].endswith(".delta"):
                    due = began + one.tokens / self._per_second if self._per_second else 0
                    await asyncio.sleep(max(0, due - clock.time()))
                    one.tokens += 1
                    self.stats["tokens"] += 1
                self._say(one, event)
            self._end(one, self.faults.ends_with)
        except asyncio.CancelledError:
            self._end(one, "cancelled")

    def _events(self, one: Generated) -> Iterator[Json]:
        yield {"type": "response.created", "response": one.to_json()}
        one.status = "in_progress"
        yield {"type": "response.in_progress", "response": one.to_json()}
        for index, part in enumerate(one.parts):
            whole = "".join(part.pieces)
            at: Json = {"output_index": index, "item_id": f"item_{index}"}
            if part.kind == "call":
                item: Json = {"type": "function_call", "id": f"item_{index}", "call_id": f"call_{one.id}_{index}"}
                item |= {"name": part.name, "arguments": whole}
                kind = "response.function_call_arguments.delta"
            elif part.kind == "reasoning":
                item = {"type": "reasoning", "id": f"item_{index}"}
                item["summary"] = [{"type": "summary_text", "text": whole}]
                kind = "response.reasoning_summary_text.delta"
                yield {"type": "response.output_item.added", **at, "item": {**item, "summary": []}}
                yield {"type": "response.reasoning_summary_part.added", **at, "part": {"text": ""}}
            else:
                item = {"type": "message", "id": f"item_{index}", "role": "assistant"}
                item["content"] = [{"type": "output_text", "text": whole, "annotations": []}]
                kind = "response.output_text.delta"
                yield {"type": "response.output_item.added", **at, "item": {**item, "content": []}}
            for piece in part.pieces:
                yield {"type": kind, **at, "delta": piece}
            one.output.append(item)
            yield {"type": "response.output_item.done", **at, "item": item}

    def _say(self, one: Generated, event: Json) -> None:
        numbered = {} if self.faults.numberless else {"sequence_number": len(one.events)}
        one.events.append({**event, **numbered})
        one.more.set()
        one.more = asyncio.Event()

    def _end(self, one: Generated, status: str) -> None:
        if not one.ended:
            one.status = status
            self.stats[status] += 1
            self._say(one, {"type": f"response.{status}", "response": one.to_json()})

    # --- answering ----------------------------------------------------------------------------------------------------

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        task = asyncio.create_task(self._serve(Peer(reader, writer, self._connections), writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, peer: Peer, writer: asyncio.StreamWriter) -> None:
        try:
            while (exchange := await peer.read_request()) is not None:
                self.exchanges.append(exchange)
                answering = asyncio.create_task(self._answer(peer, exchange))
                watching = asyncio.create_task(peer.wait_for_client())
                try:
                    await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
                    if not answering.done():  # the client went
                        return
                    if answering.exception() or not answering.result():
                        writer.transport.abort()
                        return
                finally:
                    for task in (answering, watching):
                        task.cancel()
                    await asyncio.gather(answering, watching, return_exceptions=True)
        finally:
            await peer.close()

    async def _answer(self, peer: Peer, exchange: Exchange) -> bool:
        """Answer a request; say whether the connection goes on."""
        url = urlsplit(exchange.path)
        match [exchange.method, *url.path.strip("/").split("/")]:
            case ["GET", "stats"]:
                return await _send_json(peer, 200, self.report())
            case ["POST", "faults"]:
                for name, value in exchange.body.items():
                    setattr(self.faults, {one.name: one.name for one in fields(Faults)}[name], value)
                return await _send_json(peer, 200, {})
            case ["POST", "v1", "responses"]:
                return await self._answer_create(peer, exchange)
            case ["POST", "v1", "responses", response_id, "cancel"]:
                return await self._answer_cancel(peer, response_id)
            case ["GET", "v1", "responses", response_id]:
                query = {name: values[-1] for name, values in parse_qs(url.query).items()}
                return await self._answer_retrieve(peer, response_id, query)
            case _:
                return await _refuse(peer, 404, f"no such path: {exchange.path}")

    async def _answer_create(self, peer: Peer, exchange: Exchange) -> bool:
        self.stats["creates"] += 1
        body = exchange.body
        one = self._create(body)
        if self.faults.hang_up:
            self.faults.hang_up -= 1
            return False
        try:
            if body.get("stream"):
                return await self._stream(peer, one, 0)
            assert one.task is not None
            await one.task
            return await _send_json(peer, 200, one.to_json())
        finally:
            if not body.get("background") and one.task is not None:
                one.task.cancel()

    async def _answer_cancel(self, peer: Peer, response_id: str) -> bool:
        self.stats["cancels"] += 1
        one = self.responses.get(response_id)
        if one is None or self.faults.forgotten:
            return await _refuse(peer, 404, f"Response with id '{response_id}' not found.")
        if self.faults.refusals:
            return await _refuse(peer, self.faults.refusals.pop(0), "told to refuse")
        if not one.ended and one.task is not None:
            self._end(one, "cancelled")
            one.task.cancel()
        return await _send_json(peer, 200, one.to_json())

    async def _answer_retrieve(self, peer: Peer, response_id: str, query: Mapping[str, str]) -> bool:
        self.stats["retrievals"] += 1
        if self.faults.refusals:
            return await _refuse(peer, self.faults.refusals.pop(0), "told to refuse")
        one = self.responses.get(response_id)
        if one is None or self.faults.forgotten:
            return await _refuse(peer, 404, f"Response with id '{response_id}' not found.")
        if query.get("stream") != "true":
            return await _send_json(peer, 200, one.to_json())
        if self.faults.not_streamed:
            return await _refuse(peer, 400, "This response can no longer be streamed")
        return await self._stream(peer, one, int(query.get("starting_after", "-1")) + 1)

    async def _stream(self, peer: Peer, one: Generated, start: int) -> bool:
        self.stats["streams"] += 1
        await peer.write(_head(200, "text/event-stream", "Transfer-Encoding: chunked"))
        said = 0
        async for event in _follow(one, start):
            frame = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            if self.faults.cut_after is not None and said >= self.faults.cut_after and self._may_cut():
                if self._cuts % 2:
                    await peer.write(chunk(frame[: len(frame) // 2]))
                return False
            await peer.write(chunk(frame))
            said += 1
            self.stats["sent"] += 1
        await peer.write(b"0\r\n\r\n")
        return True

    def _may_cut(self) -> bool:
        if self.faults.cut_connections is not None and self._cuts >= self.faults.cut_connections:
            return False
        self._cuts += 1
        return True

    def report(self) -> Json:
        """Return the counts, and the responses: id, prompt, status, text and tokens of each."""
        about = [
            {"id": one.id, "prompt": one.prompt, "status": one.status, "text": one.text, "tokens": one.tokens}
            for one in self.responses.values()
        ]
        return {"counts": dict(self.stats), "cuts": self._cuts, "responses": about}


def _tool(body: Json) -> str:
    tool = body["tools"][0]
    return str(tool.get("name") or tool["function"]["name"])


async def _follow(one: Generated, start: int) -> AsyncIterator[Json]:
    place = start
    while True:
        more = one.more
        while place < len(one.events):
            yield one.events[place]
            place += 1
        if one.ended:
            return
        if place >= len(one.events) and not more.is_set():
            await more.wait()


def _head(status: int, content_type: str, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}", *lines, "", ""]).encode()


async def _send_json(peer: Peer, status: int, value: Json) -> bool:
    body = json.dumps(value).encode()
    await peer.write(_head(status, "application/json", f"Content-Length: {len(body)}") + body)
    return True


async def _refuse(peer: Peer, status: int, message: str) -> bool:
    return await _send_json(peer, status, {"error": {"message": message, "type": "test_error", "code": None}})


@contextlib.contextmanager
def served_in_thread(endpoint: BackgroundEndpoint) -> Iterator[BackgroundEndpoint]:
    """Serve an endpoint in a thread of its own, for a test that asks from threads that block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(endpoint.__aenter__(), loop).result(60)
    try:
        yield endpoint
    finally:
        asyncio.run_coroutine_threadsafe(endpoint.__aexit__(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


async def _run(options: argparse.Namespace) -> None:
    faults = Faults(cut_after=options.cut_after)
    endpoint = BackgroundEndpoint(
        tokens=options.tokens, per_second=options.per_second, faults=faults, port=options.port
    )
    async with endpoint:
        print(endpoint.base_url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve background responses on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--tokens", type=int, default=400, help="of each answer")
    parser.add_argument("--per-second", type=float, default=50.0, help="tokens; 0: at once")
    parser.add_argument("--cut-after", type=int, help="cut each connection after so many events")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
