"""Responses of other routes, made durable: real servers, real clients, and a source that is closed."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from aibind.errors import StreamExistsError
from aibind.server import durable_response, resume_response
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream, MemoryStreamStore, StreamStore
from tests.support.cutting import CuttingProxy, every
from tests.support.http import serve

MESSAGES = 40
ADDED = re.compile(r"id: aibind:\d+\n")
WHOLE = "".join(f'data: {{"n":{number}}}\n\n' for number in range(MESSAGES))


class Source:
    """Yields messages, and counts how often it was started and closed."""

    def __init__(self, pause_s: float = 0.002, make: Callable[[int], str] = lambda n: f'data: {{"n":{n}}}\n\n') -> None:
        self.started = self.closed = 0
        self._pause_s = pause_s
        self._make = make

    async def messages(self) -> AsyncIterator[str]:
        self.started += 1
        try:
            for number in range(MESSAGES):
                await asyncio.sleep(self._pause_s)
                yield self._make(number)
        finally:
            self.closed += 1


def make_app(store: StreamStore, source: Source, **options: Any) -> Starlette:
    """An app whose own route streams, with a route to resume and one to stop."""

    async def ask(request: Request) -> Response:
        return await durable_response(
            store,
            source.messages(),
            id=request.path_params["id"],
            last_event_id=request.headers.get("last-event-id"),
            **options,
        )

    async def resume(request: Request) -> Response:
        return await resume_response(
            store, request.path_params["id"], last_event_id=request.headers.get("last-event-id")
        )

    async def stop(request: Request) -> Response:
        await DurableStream.stop_by_id(store, request.path_params["id"])
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/{id}", ask, methods=["POST"]),
            Route("/{id}", resume),
            Route("/{id}", stop, methods=["DELETE"]),
        ]
    )


async def test_a_reply_goes_on_without_its_client_and_is_resumed_exactly() -> None:
    source = Source()
    async with serve(make_app(MemoryStreamStore(), source)) as url, httpx2.AsyncClient(timeout=20) as client:
        async with client.stream("POST", f"{url}/a") as response:
            assert response.headers["x-stream-id"] == "a"
            async for got in response.aiter_text():
                begun = got
                break
        last = re.findall("id: (.*)", begun)[-1]
        rest = await client.get(f"{url}/a", headers={"Last-Event-ID": last})
        assert rest.headers["content-type"].startswith("text/event-stream")
        complete = begun[: begun.rindex("\n\n") + 2]
        assert ADDED.sub("", complete + rest.text) == WHOLE
        assert (source.started, source.closed) == (1, 1)
        again = await client.get(f"{url}/a")
        assert ADDED.sub("", again.text) == WHOLE
        end = re.findall("id: (.*)", again.text)[-1]
        assert (await client.get(f"{url}/a", headers={"Last-Event-ID": end})).status_code == 204
        assert (await client.get(f"{url}/unknown")).status_code == 204


async def test_connections_that_are_cut_lose_nothing() -> None:
    source = Source()
    async with (
        serve(make_app(MemoryStreamStore(), source)) as url,
        CuttingProxy(url, every(lambda: 450)).serving() as cut,
        httpx2.AsyncClient(timeout=20) as client,
    ):
        text, method, status = "", "POST", 200
        headers: dict[str, str] = {}
        while status == 200:
            part = ""
            with contextlib.suppress(httpx2.TransportError):
                async with client.stream(method, f"{cut}/a", headers=headers) as response:
                    status = response.status_code
                    async for piece in response.aiter_text():
                        part += piece
            if (end := part.rfind("\n\n")) >= 0:
                text += part[: end + 2]
                method, headers["Last-Event-ID"] = "GET", re.findall("id: (.*)", text)[-1]
        assert ADDED.sub("", text) == WHOLE
        assert source.started == 1


async def test_a_repeated_request_joins_the_reply() -> None:
    source = Source()
    async with serve(make_app(MemoryStreamStore(), source)) as url, httpx2.AsyncClient(timeout=20) as client:
        answers = await asyncio.gather(*(client.post(f"{url}/a") for _ in range(5)))
        assert len({answer.text for answer in answers}) == 1
        assert ADDED.sub("", answers[0].text) == WHOLE
        assert source.started == 1


async def test_another_process_resumes_and_stops(tmp_path: Path) -> None:
    source = Source(pause_s=0.05)
    async with wrap_sqlite3(tmp_path / "a.db") as first, wrap_sqlite3(tmp_path / "a.db") as second:
        await migrate(first)
        here, there = SqliteStreamStore(first), SqliteStreamStore(second)
        async with (
            serve(make_app(here, source)) as url,
            serve(make_app(there, Source())) as other,
            httpx2.AsyncClient(timeout=20) as client,
            client.stream("POST", f"{url}/a") as response,
        ):
            following = asyncio.ensure_future(client.get(f"{other}/a"))
            await asyncio.sleep(0.4)
            assert (await client.delete(f"{other}/a")).status_code == 204
            got = (await response.aread()).decode()
            assert ADDED.sub("", got) == ADDED.sub("", (await following).text)
            assert WHOLE.startswith(ADDED.sub("", got))
            assert 0 < got.count("data:") < MESSAGES
            assert source.closed == 1


async def test_ids_of_the_source_resume_too() -> None:
    source = Source(make=lambda n: f"id: mine-{n}\ndata: {n}\n\n")
    async with serve(make_app(MemoryStreamStore(), source)) as url, httpx2.AsyncClient(timeout=20) as client:
        whole = (await client.post(f"{url}/a")).text
        assert "aibind:" not in whole
        rest = await client.get(f"{url}/a", headers={"Last-Event-ID": "mine-30"})
        assert rest.text == whole[whole.index("id: mine-31") :]
        assert (await client.get(f"{url}/a", headers={"Last-Event-ID": "of another stream"})).text == whole
        assert (await client.get(f"{url}/a", headers={"Last-Event-ID": f"mine-{MESSAGES - 1}"})).status_code == 204
        for odd in ("aibind:99999999999999999999", "aibind:-1", "aibind:"):
            assert (await client.get(f"{url}/a", headers={"Last-Event-ID": odd})).text == whole


MIXED = [
    "data: 1\n\n",
    ": a comment\n\n",
    "\n\n",
    "data: é👋\ndata: 2\n\n",
    "id: mine\ndata: 3\n\n",
    "data: with CR\r\n\r\n",
    f"data: {'long ' * 500}\n\n",
    f"data: {'x' * 70_000}\n\n",
    "data: 4\n\n",
    "data: cut o",
]
MESSAGE = re.compile(r".*?(?:\r\n\r\n|\n\n|\Z)", re.DOTALL)


@pytest.mark.parametrize("pause_s", [0, 0.002, 0.02])
async def test_a_reader_resumes_after_any_message(tmp_path: Path, pause_s: float) -> None:
    """However many messages share a chunk, in this process and in another, and whatever they hold."""

    async def messages() -> AsyncIterator[str]:
        for message in MIXED:
            yield message
            await asyncio.sleep(pause_s)

    whole = "".join(MIXED)
    async with wrap_sqlite3(tmp_path / "a.db") as first, wrap_sqlite3(tmp_path / "a.db") as second:
        await migrate(first)
        here, there = SqliteStreamStore(first), SqliteStreamStore(second)
        live = await durable_response(here, messages(), id="a")
        elsewhere = await resume_response(there, "a")
        for sent in [(await read(response)).decode() for response in (live, elsewhere)]:
            assert ADDED.sub("", sent) == whole
            parts = MESSAGE.findall(sent)
            for place, part in enumerate(parts):
                if not (ids := re.findall(r"^id: (.*)", part)):
                    continue
                for store in (here, there):
                    rest = await resume_response(store, "a", last_event_id=ids[0])
                    got = "" if rest.status_code == 204 else (await read(rest)).decode()
                    assert ADDED.sub("", got) == ADDED.sub("", "".join(parts[place + 1 :]))


async def test_messages_that_crowd_share_a_row(tmp_path: Path) -> None:
    source = Source(pause_s=0)
    async with wrap_sqlite3(tmp_path / "a.db") as client:
        await migrate(client)
        response = await durable_response(SqliteStreamStore(client), source.messages(), flush_interval_ms=10_000)
        await read(response)
        rows = (await client.execute("SELECT data FROM aibind_stream_chunks")).rows
    assert len(rows) <= 3  # the response, the message that is stored at once, and the others
    assert str(rows[-1]["data"]).removeprefix("\x01") in WHOLE


async def test_a_response_that_fails_says_so() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        raise ZeroDivisionError

    store = MemoryStreamStore()

    async def ask(request: Request) -> Response:
        kind = request.path_params["kind"].replace("-", "/", 1)
        return await durable_response(store, broken(), media_type=kind)

    async with (
        serve(Starlette(routes=[Route("/{kind}", ask)])) as url,
        httpx2.AsyncClient(timeout=20) as client,
    ):
        told = (await client.get(f"{url}/text-event-stream")).text
        assert ADDED.sub("", told) == 'data: 1\n\nevent: error\ndata: {"error":"The reply failed"}\n\n'
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(f"{url}/text-plain")


async def read(response: Response) -> bytes:
    assert isinstance(response, StreamingResponse)
    return b"".join([piece async for piece in response.body_iterator if isinstance(piece, bytes)])


async def test_a_streaming_response_keeps_its_status_and_headers() -> None:
    store = MemoryStreamStore()
    body = b"\x00\xff" * 50

    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(body), 7):
            yield body[begin : begin + 7]

    made = StreamingResponse(pieces(), 202, {"X-Mine": "1", "Set-Cookie": "a=b"}, "application/x-any")
    live = await durable_response(store, made, id="a")
    for response in (live, await resume_response(store, "a", last_event_id="aibind:3")):
        assert (response.status_code, response.headers["x-mine"]) == (202, "1")
        assert response.headers["content-type"] == "application/x-any"
        assert "set-cookie" not in response.headers
        assert await read(response) == body


async def test_the_newest_live_reply_of_a_session_is_found() -> None:
    store = MemoryStreamStore()
    source = Source()
    await durable_response(store, source.messages(), session_id="s", owner="ada")
    found = await resume_response(store, session_id="s", owner="ada")
    assert ADDED.sub("", (await read(found)).decode()) == WHOLE
    assert (await resume_response(store, session_id="s", owner="ada")).status_code == 204
    assert (await resume_response(store, session_id="other", owner="ada")).status_code == 204


async def test_what_belongs_to_another_owner_is_unknown() -> None:
    store = MemoryStreamStore()
    await durable_response(store, Source().messages(), id="a", session_id="s", owner="ada")
    assert (await resume_response(store, "a", owner="bob")).status_code == 204
    assert (await resume_response(store, session_id="s", owner="bob")).status_code == 204
    late = Source()
    with pytest.raises(StreamExistsError):
        await durable_response(store, late.messages(), id="a", owner="bob")
    assert late.started == 0


@pytest.mark.parametrize("source", [None, [b"a"], "text", iter("a"), Response("x")])
async def test_other_sources_are_refused(source: object) -> None:
    with pytest.raises(TypeError, match="async iterable"):
        await durable_response(MemoryStreamStore(), source)


async def test_a_stream_of_a_handler_is_refused() -> None:
    async def words() -> AsyncIterator[str]:
        yield "a"

    store = MemoryStreamStore()
    await DurableStream.create(store, words(), stream_id="a")
    with pytest.raises(ValueError, match="durable_response"):
        await resume_response(store, "a")
    for wrong in ({}, {"id": "a", "session_id": "s"}):
        with pytest.raises(ValueError, match="one of them"):
            await resume_response(store, **wrong)  # type: ignore[arg-type]
