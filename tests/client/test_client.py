"""aibind.client against real servers, through proxies that cut its connections."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aibind.client import AsyncClient, Client
from aibind.errors import ClientError, ReplyFailedError
from aibind.models import EchoModel, Model, ModelEvent, ModelRequest, ReasoningDelta, TextDelta, ToolCall
from aibind.server import Access, StreamHandler, create_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from tests.support.cutting import CuttingProxy, every
from tests.support.http import serve

TEXT = "".join(f"The tide of day {number} turns at {number % 24}:{number % 60:02}. 🌊\n" for number in range(60))


class Telling:
    """Reasons, calls a tool that the client runs, and tells TEXT; a number as prompt is the pause between pieces."""

    def __init__(self) -> None:
        self.calls = 0
        self.closed = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.calls += 1
        prompt = request.messages[-1]["content"]
        try:
            yield ReasoningDelta("The table ")
            yield ReasoningDelta("says it all.")
            yield ToolCall("c1", "tide", '{"day": 1}')
            for start in range(0, len(TEXT), 17):
                if prompt.replace(".", "").isdigit():
                    await asyncio.sleep(float(prompt))
                yield TextDelta(TEXT[start : start + 17])
            if prompt == "fail":
                raise RuntimeError("inside")
        finally:
            self.closed.set()


@asynccontextmanager
async def chat_server(model: Model | None = None, **options: Any) -> AsyncIterator[str]:
    async with wrap_sqlite3(":memory:") as database:
        await migrate(database)
        handler = StreamHandler(
            model=model or Telling(),
            resumable=True,
            store=SqliteStreamStore(database),
            conversations=SqliteMessageStore(database),
        )
        async with serve(create_app(handler, **options)) as url:
            yield url
        await handler.aclose()


async def test_a_reply_is_an_iteration() -> None:
    async with chat_server() as url, AsyncClient(url) as client:
        reply = client.ask("hi", session_id="demo")
        assert (reply.state, reply.stream_id, reply.connections) == ("live", "", 0)
        events = [event async for event in reply]
        assert "".join(event.text for event in events) == TEXT == reply.text
        assert "".join(event.data for event in events if event.event == "reasoning") == "The table says it all."
        [call] = [event.json for event in events if event.event == "tool_call"]
        assert call == {"id": "c1", "name": "tide", "args": {"day": 1}}
        assert (reply.state, reply.error, reply.connections) == ("done", None, 1)
        assert reply.last_id == events[-1].id
        assert [event async for event in reply] == []


def random_cuts(seed: int, shortest: int, longest: int) -> Callable[[], int | None]:
    source = random.Random(seed)
    return lambda: source.choice((0, source.randint(1, 150), *[source.randint(shortest, longest)] * 4))


@pytest.mark.parametrize(("seed", "reset"), [(0, False), (1, True)])
async def test_a_reply_is_exact_through_cut_connections(seed: int, reset: bool) -> None:
    model = Telling()
    async with chat_server(model) as url:
        proxy = CuttingProxy(url, every(random_cuts(seed, 300, 900)), reset=reset)
        async with proxy.serving() as address, AsyncClient(address, max_failures=50) as client:
            replies = [client.ask("0.001", session_id=f"s{number}") for number in range(5)]
            events: list[list[Any]] = [[] for _ in replies]

            async def read(number: int) -> None:
                async for event in replies[number]:
                    events[number].append(event)

            await asyncio.gather(*map(read, range(len(replies))))
    assert proxy.cuts > 10
    assert model.calls == len(replies)
    for reply, seen in zip(replies, events, strict=True):
        assert reply.text == TEXT
        assert reply.connections > 1
        assert "".join(event.data for event in seen if event.event == "reasoning") == "The table says it all."
        assert [event.event for event in seen if event.event not in ("", "reasoning")] == ["tool_call"]


async def test_the_request_is_answered_once_although_its_answer_is_lost() -> None:
    model = Telling()
    limits = itertools.chain([40, 0, 10], itertools.repeat(None))  # in the headers, before anything, in the status
    async with chat_server(model) as url:
        proxy = CuttingProxy(url, limits)
        async with proxy.serving() as address, AsyncClient(address) as client:
            reply = client.ask("hi", session_id="demo")
            assert await reply.read() == TEXT
            session = await client.open_session("demo")
    assert model.calls == 1
    assert reply.connections == 4
    assert session is not None
    assert len(session.messages) == 2


async def test_a_reply_that_is_left_goes_on_and_is_continued() -> None:
    async with chat_server() as url, AsyncClient(url) as client:
        reply = client.ask("0.001", session_id="demo")
        seen = ""
        async for event in reply:
            seen += event.text
            if len(seen) > 100:
                break
        assert reply.state == "live"
        other = client.resume(reply.stream_id, after=reply.last_id)
        rest = await other.read()
        assert seen + rest == TEXT
        assert await reply.read() == TEXT  # where it was left
        whole = client.resume(reply.stream_id)
        assert await whole.read() == TEXT


async def test_attach_finds_the_reply_under_way() -> None:
    async with chat_server() as url, AsyncClient(url) as client:
        none = client.attach("demo")
        assert await none.read() == ""
        assert none.state == "none"
        reply = client.ask("0.002", session_id="demo")
        first = await anext(aiter(reply))
        assert first.event == "reasoning"
        attached = client.attach("demo")
        assert await attached.read() == TEXT
        assert attached.stream_id == reply.stream_id


async def test_stop_ends_the_reply_and_keeps_it() -> None:
    model = Telling()
    async with chat_server(model) as url, AsyncClient(url) as client:
        reply = client.ask("0.01", session_id="demo")
        await reply.stop()  # before it began: nothing to stop
        async for event in reply:
            if event.text:
                await reply.stop()
        assert reply.state == "stopped"
        assert TEXT.startswith(reply.text)
        assert model.closed.is_set()
        session = await client.open_session("demo")
        assert session is not None
        assert session.messages[-1].message["content"] == reply.text


async def test_a_reply_that_fails_raises_after_its_text() -> None:
    async with chat_server() as url, AsyncClient(url) as client:
        reply = client.ask("fail")
        seen = ""

        async def read() -> None:
            nonlocal seen
            async for event in reply:
                seen += event.text

        with pytest.raises(ReplyFailedError, match="The model failed") as raised:
            await read()
        assert seen == TEXT
        assert raised.value.stream_id == reply.stream_id
        assert (reply.state, reply.error) == ("error", "The model failed")


async def test_structured_output_and_chat() -> None:
    async with chat_server(EchoModel(tokens_per_second=0)) as url, AsyncClient(url) as client:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
        reply = client.structured("A name", schema)
        assert reply.value is None
        await reply.read()
        value: Any = reply.value
        assert isinstance(value["name"], str)
        chat = client.chat([{"role": "user", "content": "/short Hello"}])
        assert await chat.read()
        with pytest.raises(TypeError, match="unknown field 'sesion_id'"):
            client.ask("hi", sesion_id="demo")  # type: ignore[call-arg]


async def test_sessions() -> None:
    async with chat_server() as url, AsyncClient(url) as client:
        assert (await client.list_sessions()).sessions == ()
        assert await client.open_session("an unknown/one") is None
        for name in ("a/b", "c"):
            await client.ask("hi", session_id=name).read()
        listed = await client.list_sessions(limit=1, live=True)
        assert [session.id for session in listed.sessions] == ["c"]
        assert listed.before is not None
        assert [one.id for one in (await client.list_sessions(before=listed.before)).sessions] == ["a/b"]
        assert (await client.rename("a/b", "Tides")).title == "Tides"
        session = await client.open_session("a/b")
        assert session is not None
        question, answer = session.messages
        assert (session.title, question.message["content"], answer.message["content"]) == ("Tides", "hi", TEXT)
        await client.ask(session_id="a/b", regenerate=answer.id).read()
        session = await client.open_session("a/b", limit=1)
        assert session is not None
        assert len(session.messages) == 1
        assert len(session.messages[0].alternatives) == 2
        assert (await client.select("a/b", answer.id)).active_leaf_id == answer.id
        exported = await client.export_session("a/b")
        assert json.loads(exported)
        imported = await client.import_session(exported, title="Again")
        copied = await client.open_session(imported)
        assert copied is not None
        assert copied.title == "Again"
        await client.delete("a/b")
        await client.delete("a/b")
        assert await client.open_session("a/b") is None


@pytest.mark.parametrize("name", ["", ".", ".."])
async def test_an_id_that_is_a_step_in_the_path_is_refused(name: str) -> None:
    async with AsyncClient("http://127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="session_id"):
            await client.delete(name)


async def test_refusals_are_in_the_servers_words() -> None:
    async with chat_server() as url, AsyncClient(url) as client:
        with pytest.raises(ClientError, match="prompt is required") as raised:
            await client.ask("").read()
        assert raised.value.status == 400
        with pytest.raises(ClientError) as raised:
            await client.resume("unknown").read()
        assert raised.value.status == 404
        with pytest.raises(ClientError) as raised:
            await client.rename("unknown", "title")
        assert raised.value.status == 404
        async with AsyncClient(url, prefix="/elsewhere") as lost:
            with pytest.raises(ClientError, match="check the address and the prefix"):
                await lost.list_sessions()


async def test_who_asks_is_in_the_headers() -> None:
    def authorize(request: Any, *_: object) -> Access | None:
        return Access("ada") if request.headers.get("authorization") == "Bearer secret" else None

    async with chat_server(authorize=authorize) as url:
        async with AsyncClient(url, headers={"Authorization": "Bearer secret"}) as client:
            assert await client.ask("hi", session_id="demo").read() == TEXT
        async with AsyncClient(url) as client:
            with pytest.raises(ClientError, match="Sign in first"):
                await client.ask("hi").read()


async def test_a_busy_session_names_its_reply() -> None:
    async with chat_server() as url, AsyncClient(url) as client:
        reply = client.ask("0.01", session_id="demo")
        await anext(aiter(reply))
        with pytest.raises(ClientError) as raised:
            await client.ask("hi", session_id="demo", on_busy="reject").read()
        assert (raised.value.status, raised.value.stream_id) == (409, reply.stream_id)


async def test_a_server_out_of_reach_is_given_up() -> None:
    async with AsyncClient("http://127.0.0.1:1", max_failures=2) as client:
        reply = client.ask("hi")
        with pytest.raises(ClientError, match="2 times in a row") as raised:
            await reply.read()
        assert raised.value.status is None
        with pytest.raises(ClientError, match="could not be reached"):
            await client.list_sessions()


async def unavailable(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"retry-after", b"0.01"), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"error": "Being replaced"}'})


async def test_a_server_that_asks_to_wait_is_asked_again() -> None:
    asked = 0
    async with chat_server() as url:
        proxied = httpx2.AsyncClient(trust_env=False)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal asked
            asked += 1
            if asked < 3:
                await unavailable(scope, receive, send)
                return
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            answer = await proxied.post(url + scope["path"], content=body, headers={"content-type": "application/json"})
            headers = [(b"x-stream-id", answer.headers["x-stream-id"].encode())]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
            await send({"type": "http.response.body", "body": answer.content})

        async with proxied, serve(app) as address, AsyncClient(address) as client:
            reply = client.ask("hi")
            assert await reply.read() == TEXT
    assert reply.connections == 3
    async with serve(unavailable) as address, AsyncClient(address, max_failures=2) as client:
        with pytest.raises(ClientError, match="Being replaced"):
            await client.ask("hi").read()


async def test_without_resumable_a_lost_connection_is_the_end() -> None:
    handler = StreamHandler(model=Telling())
    async with serve(create_app(handler)) as url:
        async with AsyncClient(url, resumable=False) as client:
            assert await client.ask("hi").read() == TEXT
        proxy = CuttingProxy(url, every(lambda: 900))
        async with proxy.serving() as address, AsyncClient(address, resumable=False) as client:
            with pytest.raises(ClientError, match="cannot be resumed"):
                await client.ask("hi").read()
        assert proxy.connections == 1


async def test_answers_that_are_no_servers_of_ours() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"<html>" if scope["path"].endswith("a") else b'{"id": 1}'})

    async with serve(app) as url, AsyncClient(url) as client:
        with pytest.raises(ClientError, match="no JSON: '<html>'"):
            await client.open_session("a")
        with pytest.raises(ClientError, match="not that of a session"):
            await client.open_session("b")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"base_url": "localhost:8000"}, "http://127.0.0.1:8000"),
        ({"base_url": "http://localhost", "timeout_s": 0}, "timeout_s is 0"),
        ({"base_url": "http://localhost", "max_failures": 0}, "max_failures is 0"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Client(**options)


async def test_the_synchronous_client_does_the_same(tmp_path: Path) -> None:
    model = Telling()

    def script(url: str, cut: str) -> list[Any]:
        found: list[Any] = []
        with Client(cut, max_failures=50) as client:
            reply = client.ask("0.001", session_id="demo")
            found.append("".join(event.text for event in reply))
            found.append((reply.state, reply.connections > 1))
        with Client(url) as client:
            for event in (stopped := client.ask("0.01", session_id="demo")):
                if event.text:
                    stopped.stop()
            found.append(stopped.state)
            found.append(client.attach("demo").read())
            found.append([session.id for session in client.list_sessions(live=True).sessions])
            client.rename("demo", "Tides")
            session = client.open_session("demo")
            assert session is not None
            assert client.select("demo", session.messages[-1].id).title == "Tides"
            found.append(len(session.messages))
            found.append(client.import_session(client.export_session("demo"), session_id="copy"))
            client.delete("copy")
            found.append(client.open_session("copy"))
            with pytest.raises(ReplyFailedError):
                client.ask("fail").read()
            with pytest.raises(ClientError):
                client.chat([]).read()
            structured = client.structured("A name")
            with pytest.raises(ReplyFailedError):
                structured.read()
        with Client("http://127.0.0.1:1", max_failures=1) as client:
            with pytest.raises(ClientError):
                client.ask("hi").read()
            with pytest.raises(ClientError):
                client.stop("one")
        return found

    async with chat_server(model) as url:
        proxy = CuttingProxy(url, every(random_cuts(7, 300, 900)))
        async with proxy.serving() as cut:
            found = await asyncio.to_thread(script, url, cut)
    assert found == [TEXT, ("done", True), "stopped", "", ["demo"], 4, "copy", None]


def test_reprs() -> None:
    client = Client("http://127.0.0.1:8000/")
    assert repr(client) == "Client('http://127.0.0.1:8000/__aibind__')"
    assert repr(client.resume("s", after=3)) == "<Reply 's' live after 3>"
    client.close()


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aibind", "ask", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def test_the_command_prints_a_reply() -> None:
    def authorize(request: Any, *_: object) -> Access | None:
        return Access("ada") if request.headers.get("authorization") == "Bearer secret" else None

    async with chat_server(authorize=authorize) as url:
        done = await asyncio.to_thread(run_command, url, "hi", "--session", "demo", "--token", "secret")
        assert (done.returncode, done.stdout, done.stderr) == (0, TEXT + "\n", "")
        async with AsyncClient(url, headers={"Authorization": "Bearer secret"}) as client:
            assert await client.open_session("demo") is not None
        failed = await asyncio.to_thread(run_command, url, "fail", "--token", "secret")
        assert (failed.returncode, failed.stdout) == (1, TEXT + "\n")
        assert "The reply is not whole: The model failed" in failed.stderr
        refused = await asyncio.to_thread(run_command, url, "hi")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "Sign in first" in refused.stderr
    wrong = await asyncio.to_thread(run_command, "localhost:8000", "hi")
    assert "http://127.0.0.1:8000" in wrong.stderr


async def test_ctrl_c_stops_the_reply_at_the_server() -> None:
    model = Telling()
    async with chat_server(model) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "aibind",
            "ask",
            url,
            "0.05",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        await process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        assert (process.returncode, b"stopped" in errors) == (1, True)
        await asyncio.wait_for(model.closed.wait(), 5)
