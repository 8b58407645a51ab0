from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import socket
import sys
import time
import traceback
from itertools import repeat
from typing import Any, Literal

import pytest

from aibind.errors import ModelError, ModelTimeoutError
from aibind.models import Finish, ModelEvent, ModelRequest, OpenAIModel, TextDelta, Usage
from tests.support.endpoint import Endpoint, Exchange, Reply, delta, every, failure, texts, usage
from tests.support.models import PATIENCE_S

from .helpers import HELLO, ask, collect, collect_until_error, model_at, text_of

KEY = "sk-secret-0123456789"


async def failing(
    *replies: Reply, request: ModelRequest = HELLO, **options: Any
) -> tuple[list[ModelEvent], ModelError, list[Exchange]]:
    """Return the events before the error, the error, and the exchanges that there were."""
    async with Endpoint(*replies) as endpoint, model_at(endpoint, **{"max_retries": 0, **options}) as model:
        events, error = await collect_until_error(model, request)
        assert isinstance(error, ModelError)
        assert type(error) in (ModelError, ModelTimeoutError), repr(error)
        return events, error, endpoint.exchanges


# --- answers that are errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, False) for status in (400, 401, 403, 404, 422)),
        *((status, True) for status in (408, 409, 429, 500, 503, 529)),
    ],
)
async def test_an_error_answer_tells_its_status_code_and_message(status: int, retryable: bool) -> None:
    events, error, _ = await failing(failure(status, "Something is\nwrong", code="some_code"))
    assert events == []
    assert f"answered {status}" in str(error)
    assert "Something is wrong" in str(error)
    assert (error.status, error.code, error.retryable) == (status, "some_code", retryable)


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": {"message": "m", "type": "t", "code": None}}, "m", "t"),
        ({"error": {"message": "m", "code": 1210}}, "m", "1210"),
        ({"error": "model 'x' not found"}, "model 'x' not found", None),
        ({"object": "error", "message": "m", "type": "invalid", "code": None}, "m", "invalid"),
        ({"detail": "Not Found"}, "Not Found", None),
        ({"detail": [{"loc": ["body", 0], "msg": "Field required"}]}, "body.0: Field required", None),
        ([{"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}}], "m", "400"),
        ({"what": "ever"}, '{"what": "ever"}', None),
        ([], "no explanation", None),
        (None, "no explanation", None),
        ("just text", "just text", None),
    ],
)
async def test_error_bodies_in_their_dialects(body: Any, message: str, code: str | None) -> None:
    reply = Reply(status=400, body=json.dumps(body).encode(), content_type="application/json")
    _, error, _ = await failing(reply)
    assert str(error).endswith(f"answered 400: {message}") or message in str(error)
    assert error.code == code


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (b"upstream is down", "text/plain", "upstream is down"),
        (b"", None, "no explanation"),
        (b"<html><h1>Bad gateway</h1>", "text/html", "web page"),
        (b'{"error": {"mess', "application/json", '{"error": {"mess'),
        (b"\xff\xfe\x00", "text/plain", "answered 500"),
        (b"[" * 50_000, "application/json", "answered 500"),
    ],
)
async def test_an_error_body_that_is_not_json(body: Any, content_type: str | None, says: str) -> None:
    _, error, _ = await failing(Reply(status=500, body=body, content_type=content_type))
    assert says in str(error)
    assert "<h1>" not in str(error)
    assert error.retryable


async def test_an_endless_error_body_is_read_in_part() -> None:
    endless = Reply(status=400, body=b"", content_type="text/plain", split=lambda _: repeat(b"words " * 1000))
    async with asyncio.timeout(PATIENCE_S), Endpoint(endless) as endpoint, model_at(endpoint) as model:
        _, error = await collect_until_error(model)
        await endpoint.exchanges[0].disconnected.wait()
    assert "words words" in str(error)
    assert len(str(error)) < 600


async def test_an_error_body_that_stalls_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aibind.models.endpoint_client.MAX_ERROR_S", 2.0)
    reply = Reply(["the beginning", "the end"], status=400, stall_after=1, content_type="text/plain")
    _, error, _ = await failing(reply)
    assert "the beginning" in str(error)
    assert error.status == 400


async def test_a_redirect_is_not_followed() -> None:
    reply = Reply(status=308, body=b"", headers={"Location": "https://user:pw@other.example/v1/chat/completions?key=1"})
    _, error, exchanges = await failing(reply, api_key=KEY)
    assert "https://other.example/v1;" in str(error)
    assert error.status == 308
    assert len(exchanges) == 1


@pytest.mark.parametrize(
    ("status", "headers", "says"),
    [
        (307, {"Location": "http://[nowhere"}, "an address that is not a URL"),
        (307, {"Location": "//other.example:99999/v1"}, "http://other.example:99999/v1;"),
        (307, {"Location": f"/login/{KEY}"}, "/login/[redacted];"),
        (307, {}, "answered 307: no explanation"),
        (304, {}, "answered 304: no explanation"),
    ],
)
async def test_a_redirect_to_nowhere(status: int, headers: dict[str, str], says: str) -> None:
    _, error, exchanges = await failing(Reply(status=status, body=b"", headers=headers, framing="close"), api_key=KEY)
    assert says in str(error)
    assert error.status == status
    assert len(exchanges) == 1


async def test_a_web_page_in_place_of_a_stream() -> None:
    _, error, _ = await failing(Reply(body=b"<html>", content_type="text/html; charset=utf-8"))
    assert "web page" in str(error)
    assert "base_url" in str(error)


# --- errors in mid-stream --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"error": {"message": "overheated", "type": "server_error", "code": None}}, (None, "server_error", True)),
        ({"error": {"message": "overheated", "code": 502}, "choices": [{"delta": {}}]}, (502, "502", True)),
        ({"error": {"message": "overheated", "code": "400"}}, (400, "400", False)),
        ({"error": "overheated"}, (None, None, False)),
        ({"object": "error", "message": "overheated", "type": "invalid", "code": 429}, (429, "429", True)),
        ({"choices": [{"index": 0, "error": {"message": "overheated", "code": "x"}}]}, (None, "x", False)),
        ({"choices": [], "x_groq": {"error": {"message": "overheated", "type": "timeout"}}}, (None, "timeout", True)),
        ({"error": {"message": "overheated", "code": "insufficient_quota"}}, (None, "insufficient_quota", False)),
    ],
)
async def test_an_error_chunk_ends_the_text(
    data: dict[str, Any], expected: tuple[int | None, str | None, bool]
) -> None:
    events, error, exchanges = await failing(Reply([delta(content="so far"), json.dumps(data)]), max_retries=2)
    assert events == [TextDelta("so far")]
    assert "broke off with an error: overheated" in str(error)
    assert (error.status, error.code, error.retryable) == expected
    assert len(exchanges) == 1


@pytest.mark.parametrize("said", ['{"message": "overheated"}', "overheated", '{"error": {"message": "overheated"}}'])
async def test_an_error_event_ends_the_text(said: str) -> None:
    body = f"data: {delta(content='so far')}\n\nevent: error\ndata: {said}\n\n".encode()
    events, error, _ = await failing(Reply(body=body))
    assert events == [TextDelta("so far")]
    assert "overheated" in str(error)


async def test_an_error_in_an_answer_of_one_piece() -> None:
    reply = Reply(body=b'{"error": {"message": "overheated"}}', content_type="application/json")
    _, error, _ = await failing(reply)
    assert "overheated" in str(error)


@pytest.mark.parametrize(
    "garbage",
    [
        "{not json",
        "5",
        "null",
        "[]",
        '"text"',
        "{" * 100_000,
        "[" * 100_000,
        '{"choices": 5}',
        '{"choices": [5]}',
        '{"choices": [{"delta": 5}]}',
        '{"choices": [{"delta": {"content": 5}}]}',
        '{"choices": [{"delta": {"tool_calls": 5}}]}',
        '{"choices": [{"delta": {"tool_calls": [5]}}]}',
        '{"choices": [{"delta": {"tool_calls": [{"function": "f"}]}}]}',
    ],
    ids=lambda text: text[:40],
)
async def test_garbage_is_called_garbage(garbage: str) -> None:
    events, error, _ = await failing(Reply([delta(content="so far"), garbage]))
    assert events == [TextDelta("so far")]
    assert "endpoint sent" in str(error)
    assert garbage[:20].strip('"') in str(error)
    assert len(str(error)) < 300
    assert error.code == "malformed_reply"


async def test_text_that_came_with_the_garbage_is_not_lost() -> None:
    body = "".join(f"data: {data}\n\n" for data in [delta(content="a"), delta(content="b"), "{"]).encode()
    events, _, _ = await failing(Reply(body=body))
    assert events == [TextDelta("a"), TextDelta("b")]


async def test_one_endless_message_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aibind.models.endpoint.answer._MAX_WHOLE_BYTES", 100_000)
    _, error, _ = await failing(Reply(body=b" " * 200_000, content_type="application/json", split=every(50_000)))
    assert "one piece" in str(error)


async def test_a_stream_in_the_responses_format() -> None:
    data = [json.dumps({"type": "response.created", "response": {}})]
    _, error, _ = await failing(Reply(data))
    assert "Responses format" in str(error)
    assert error.code == "responses_format"
    whole = Reply(body=b'{"object": "response", "output": []}', content_type="application/json")
    _, error, _ = await failing(whole)
    assert error.code == "responses_format"


# --- how an answer ends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [None, every(1), every(7)])
@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_a_connection_cut_in_the_text(split: Any, framing: Literal["chunked", "close"]) -> None:
    events, error, exchanges = await failing(
        Reply(texts("a", "b", "c"), cut_after=3, framing=framing, split=split), max_retries=2
    )
    assert text_of(events) == "ab"
    assert "cut off" in str(error)
    assert (error.code, error.retryable) == ("cut_off", True)
    assert len(exchanges) == 1  # text has come: it is not asked again


async def test_a_connection_cut_in_a_message() -> None:
    body = f"data: {delta(content='a')}\n\ndata: {delta(content='b')}"[:-5].encode()
    events, error, _ = await failing(Reply(body=body, framing="close"))
    assert (events, error.code) == ([TextDelta("a")], "cut_off")


async def test_a_stream_that_ends_without_a_reason() -> None:
    events, error, _ = await failing(Reply([delta(content="a")], done=False))
    assert (events, error.code) == ([TextDelta("a")], "cut_off")


@pytest.mark.parametrize("body", [b"", b": only a comment\n\n", b"plain text\n"])
async def test_an_answer_with_nothing_in_it(body: Any) -> None:
    _, error, _ = await failing(Reply(body=body))
    assert "empty answer" in str(error)
    assert "base_url" in str(error)


async def test_a_filtered_answer_keeps_its_text_and_fails() -> None:
    events, error, _ = await failing(Reply([*texts("so far", finish="content_filter"), usage(1, 2)]))
    assert events == [TextDelta("so far"), Finish("content_filter"), Usage(1, 2)]
    assert (error.code, error.retryable) == ("content_filter", False)


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource"])
async def test_a_model_that_gives_up(reason: str) -> None:
    events, error, _ = await failing(Reply(texts("so far", finish=reason)))
    assert events == [TextDelta("so far"), Finish(reason)]
    assert (error.code, error.retryable) == (reason, True)


async def test_structured_output_that_was_cut_off_by_the_limit_fails() -> None:
    reply = Reply([*texts('{"a": 1', finish="length"), usage(1, 2)])
    events, error, _ = await failing(reply, request=ask("hi", json_schema={}))
    assert events == [TextDelta('{"a": 1'), Finish("length"), Usage(1, 2)]
    assert error.code == "length"
    assert "structured output" in str(error)


async def test_a_tool_call_that_was_cut_off_by_the_limit_is_not_given() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "delete", "arguments": '{"path": "/'}}
    events, error, _ = await failing(Reply([delta(tool_calls=[call]), delta("length"), usage(1, 2)]))
    assert events == [Finish("length"), Usage(1, 2)]
    assert error.code == "length"
    assert "tool call" in str(error)


async def test_a_tool_call_in_a_reply_that_was_cut_is_not_given() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "delete", "arguments": '{"path": "/'}}
    events, error, _ = await failing(Reply([delta(tool_calls=[call]), delta("stop")], cut_after=1))
    assert (events, error.code) == ([], "cut_off")


async def test_a_tool_call_without_a_name_fails() -> None:
    call = {"index": 0, "id": "a", "function": {"arguments": "{}"}}
    _, error, _ = await failing(Reply([delta(tool_calls=[call]), delta("stop")]))
    assert "without naming" in str(error)


async def test_a_refusal_of_structured_output_fails() -> None:
    data = [delta(refusal="I cannot"), delta(refusal=" do that."), delta("stop")]
    events, error, _ = await failing(Reply(data), request=ask("hi", json_schema={}))
    assert events == [Finish("stop")]
    assert error.code == "refusal"
    assert "I cannot do that." in str(error)


# --- time-outs and connections ---------------------------------------------------------------------------------------


async def test_silence_before_the_answer_times_out_and_is_not_retried() -> None:
    _, error, exchanges = await failing(Reply(silent=True), timeout_s=1.5, max_retries=2)
    assert isinstance(error, ModelTimeoutError)
    assert "1.5 s" in str(error)
    assert len(exchanges) == 1


async def test_silence_in_the_text_times_out() -> None:
    reply = Reply(texts("a", "b"), stall_after=2)
    async with asyncio.timeout(PATIENCE_S), Endpoint(reply) as endpoint, model_at(endpoint, timeout_s=2.0) as model:
        events, error = await collect_until_error(model)
        await endpoint.exchanges[0].disconnected.wait()
    assert events == [TextDelta("a")]
    assert isinstance(error, ModelTimeoutError)
    assert "cut off" in str(error)
    assert len(endpoint.exchanges) == 1


async def test_comments_count_as_life() -> None:
    reply = Reply(texts("a"), comments=6, delay_s=0.5)
    async with Endpoint(reply) as endpoint, model_at(endpoint, timeout_s=2.5) as model:
        assert text_of(await collect(model)) == "a"


async def test_an_endpoint_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        base_url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        async with OpenAIModel("m", base_url=base_url, backoff_s=0.001, api_key=KEY) as model:
            _, error = await collect_until_error(model)
    assert isinstance(error, ModelError)
    assert base_url in str(error)
    assert error.retryable
    assert error.__cause__ is not None


@pytest.mark.skipif(sys.platform != "linux", reason="a full queue of connections is ignored on Linux only")
async def test_an_endpoint_that_does_not_accept_times_out() -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(full.getsockname())
        base_url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        async with OpenAIModel("m", base_url=base_url, connect_timeout_s=0.1, max_retries=0) as model:
            _, error = await collect_until_error(model)
    assert isinstance(error, ModelTimeoutError)
    assert "0.1 s" in str(error)


# --- trying again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        failure(500, "x"),
        failure(503, "x"),
        failure(429, "x"),
        failure(408, "x"),
        failure(409, "x"),
        Reply(hang_up=True),
    ],
    ids=["500", "503", "429", "408", "409", "lost"],
)
async def test_what_may_pass_is_tried_again(first: Reply) -> None:
    async with Endpoint(first, first, Reply(texts("a"))) as endpoint, model_at(endpoint, max_retries=2) as model:
        assert text_of(await collect(model)) == "a"
        assert [exchange.body for exchange in endpoint.exchanges] == [endpoint.exchanges[0].body] * 3


@pytest.mark.parametrize("max_retries", [0, 1, 3])
async def test_trying_again_ends(max_retries: int) -> None:
    _, error, exchanges = await failing(failure(503, "still busy"), max_retries=max_retries)
    assert error.status == 503
    assert len(exchanges) == max_retries + 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    _, _, exchanges = await failing(failure(status, "no"), max_retries=2)
    assert len(exchanges) == 1


async def test_a_spent_quota_is_not_tried_again() -> None:
    _, error, exchanges = await failing(failure(429, "pay first", code="insufficient_quota"), max_retries=2)
    assert not error.retryable
    assert len(exchanges) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"retry_after": "0"},
        {"retry_after": "0.0"},
        {"retry_after_ms": "1", "retry_after": "999"},
        {"retry_after": "Mon, 01 Jan 2024 00:00:00 GMT"},
    ],
    ids=str,
)
async def test_the_endpoints_own_wait_is_kept(headers: dict[str, str]) -> None:
    # the backoff would outlast the test: that it ends shows that Retry-After went before it
    async with (
        Endpoint(failure(429, "slow down", **headers), Reply(texts("a"))) as endpoint,
        model_at(endpoint, backoff_s=1000.0) as model,
    ):
        assert text_of(await collect(model)) == "a"


@pytest.mark.parametrize("later", ["3600", "date"])
async def test_a_long_wait_is_not_waited_for(later: str) -> None:
    value = email.utils.formatdate(time.time() + 3600, usegmt=True) if later == "date" else later
    _, error, exchanges = await failing(failure(429, "come back later", retry_after=value), max_retries=2)
    assert error.retryable
    assert len(exchanges) == 1


async def test_a_wait_that_cannot_be_read_is_ignored() -> None:
    async with (
        Endpoint(failure(429, "hm", retry_after="soon"), Reply(texts("a"))) as endpoint,
        model_at(endpoint) as model,
    ):
        assert text_of(await collect(model)) == "a"


async def test_a_wait_can_be_cancelled() -> None:
    async with Endpoint(failure(503, "busy")) as endpoint, model_at(endpoint, backoff_s=20.0) as model:
        task = asyncio.create_task(collect(model))
        async with asyncio.timeout(PATIENCE_S):
            while not endpoint.exchanges:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


# --- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        failure(401, f"Incorrect API key provided: {KEY}. And Bearer {KEY}.", code=KEY),
        Reply(status=500, body=f"{'x' * 485}{KEY}".encode(), content_type="text/plain"),
        Reply([delta(content="a"), json.dumps({"error": {"message": f"bad key {KEY}"}})]),
        Reply([delta(content="a"), f"garbage {KEY}"]),
        Reply([delta(refusal=f"no, {KEY}"), delta("stop")]),
        Reply(hang_up=True),
        Reply(status=302, body=b"", headers={"Location": f"/x?key={KEY}"}),
    ],
    ids=["answer", "cut text", "mid-stream", "garbage", "refusal", "lost", "redirect"],
)
async def test_the_key_is_in_no_error(reply: Reply) -> None:
    request = ask("hi", json_schema={})
    _, error, _ = await failing(reply, request=request, api_key=KEY, headers={"X-Api-Key": "other-secret"})
    told = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
    assert KEY not in told
    assert KEY[:12] not in told
    assert "other-secret" not in told


async def test_the_key_in_a_url_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with Endpoint(failure(500, "no")) as endpoint:
        base_url = f"{endpoint.base_url}?api-key={KEY}&api-version=7"
        async with OpenAIModel("any", base_url=base_url, max_retries=0) as model:
            await collect_until_error(model, HELLO)
    assert "api-version=7" in caplog.text  # the HTTP library does log the URL
    assert KEY not in caplog.text
