"""The Python client inside a Worker, over JavaScript's fetch: what the tests outside ask it to do."""

from __future__ import annotations

import sys
from typing import Any

from aibind._time import timeout
from aibind.client import AsyncClient
from aibind.cloudflare import FetchTransport
from aibind.errors import ClientError, ReplyFailedError

__all__ = ["serve"]


async def serve(env: Any, path: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Do what a path says, and return what came of it."""
    if path == "/client/object":
        return await _ask_object(env)
    try:
        async with AsyncClient(asked["url"], **asked.get("options", {})) as client:
            return {"httpx2": "httpx2" in sys.modules, **await _ACTIONS[path](client, asked)}
    except ReplyFailedError as error:
        return {"failed": str(error)}
    except ClientError as error:
        return {"error": str(error), "status": error.status}


async def _read(client: AsyncClient, asked: dict[str, Any]) -> dict[str, Any]:
    fields: Any = {"session_id": asked["session"]} if "session" in asked else {}
    reply = client.ask(asked["prompt"], **fields)
    events = [[event.id, event.event, event.data] async for event in reply]
    return {"events": events, "text": reply.text, "state": reply.state, "connections": reply.connections}


async def _leave(client: AsyncClient, asked: dict[str, Any]) -> dict[str, Any]:
    """Read the beginning of a reply and leave it, by a break, with the iterator closed, or by a time limit."""
    reply = client.ask(asked["prompt"])
    seen = ""
    iterator: Any = aiter(reply)
    try:
        async with timeout(1 if asked["how"] == "timeout" else 60):
            async for event in iterator:
                seen += event.data
                if asked["how"] != "timeout":
                    break
    except TimeoutError:
        pass
    if asked["how"] == "aclose":
        await iterator.aclose()
    del iterator
    return {"seen": seen, "stream": reply.stream_id, "last": reply.last_id}


async def _resume(client: AsyncClient, asked: dict[str, Any]) -> dict[str, Any]:
    events = [event async for event in client.resume(asked["stream"], after=asked["last"])]
    return {"seen": "".join(event.data for event in events if event.event in ("", "reasoning"))}


async def _sessions(client: AsyncClient, asked: dict[str, Any]) -> dict[str, Any]:
    session_id = asked["session"]
    await client.rename(session_id, "Ebbe 🌊")
    session = await client.open_session(session_id)
    assert session is not None
    await client.import_session(await client.export_session(session_id), session_id="copy")
    await client.delete(session_id)
    listed = await client.list_sessions()
    return {
        "title": session.title,
        "messages": [message.message["content"] for message in session.messages],
        "left": [one.id for one in listed.sessions],
        "gone": await client.open_session(session_id) is None,
    }


async def _ask_object(env: Any) -> dict[str, Any]:
    """Send a request to a Durable Object, through its stub as the SDK wraps it."""
    transport = FetchTransport(env.STREAMS.getByName("one"))
    response = await transport.open("GET", "http://object/tell", headers={}, body=None, timeout_s=30)
    try:
        body = b"".join([piece async for piece in response])
    finally:
        await response.aclose()
    return {"status": response.status, "body": body.decode()}


_ACTIONS = {
    "/client/read": _read,
    "/client/leave": _leave,
    "/client/resume": _resume,
    "/client/sessions": _sessions,
}
