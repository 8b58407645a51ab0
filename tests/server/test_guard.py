"""Requests that the page of another site causes: refused by Host, Origin and Content-Type, in every host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from aibind.server import Endpoints, StreamHandler, create_app, create_router
from aibind.server.guard import Guard
from tests.support.http import serve
from tests.support.models import ScriptedModel

OPTIONS: dict[str, Any] = {"allowed_hosts": ["127.0.0.1", "*.chat.example", "::1"]}
FRIEND = "https://friend.example"


def by_itself(handler: StreamHandler) -> Any:
    return create_app(handler, cors_origins=[FRIEND], **OPTIONS)


def in_a_router(handler: StreamHandler) -> Any:
    app = FastAPI()
    app.include_router(create_router(handler, allowed_origins=[FRIEND], **OPTIONS))
    return app


@pytest.mark.parametrize("host_of", [by_itself, in_a_router])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "a.chat.example"}, 200),
        ({"Host": "A.Chat.Example:80"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "chat.example"}, 421),
        ({"Host": "rebound.example"}, 421),
        ({"Host": "127.0.0.1.rebound.example"}, 421),
        ({"Host": "evilchat.example"}, 421),
        ({"Host": "[bad"}, 421),
        ({"Host": "a.chat.example", "Origin": "https://a.chat.example"}, 200),
        ({"Host": "a.chat.example", "Origin": "https://b.chat.example"}, 403),
        ({"Host": "a.chat.example", "Origin": "https://a.chat.example:8443"}, 403),
        ({"Origin": FRIEND}, 200),
        ({"Origin": FRIEND, "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://proxied.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": "Application/JSON; charset=utf-8"}, 200),
        ({"Content-Type": "application/vnd.chat+json"}, 200),
    ],
)
async def test_what_another_sites_page_can_send_is_refused(
    host_of: Callable[[StreamHandler], Any], headers: dict[str, str], status: int
) -> None:
    model = ScriptedModel("x")
    app = host_of(StreamHandler(model=model, resumable=True))
    async with serve(app) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        sent = {"Content-Type": "application/json", **headers}
        response = await client.post("/__aibind__/stream", content=b'{"prompt": "spend"}', headers=sent)
        assert response.status_code == status, response.text
        assert len(model.requests) == (status == 200)
        if status != 200:
            assert list(response.json()) == ["error"]
        # What is only read is refused for its host alone: no page of another site can see the answer.
        response = await client.get("/__aibind__/stream/resume?id=nobody", headers=headers)
        assert response.status_code == (421 if status == 421 else 404)


async def test_endpoints_without_asgi_check_the_same() -> None:
    endpoints = Endpoints(StreamHandler(model=ScriptedModel("x")), allowed_hosts=["chat.example"])

    async def read_body() -> bytes:
        return b'{"prompt": "hi"}'

    async def status(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await endpoints.answer("POST", "/__aibind__/stream", "", named, read_body)).status

    assert await status(host="chat.example") == 200
    assert await status() == 421
    assert await status(host="chat.example", origin="https://evil.example") == 403
    assert await status(host="chat.example", origin="https://chat.example") == 415  # a page that declares nothing
    assert await status(host="chat.example", content_type="text/plain") == 415


async def test_without_allowed_hosts_every_name_is_answered() -> None:
    Guard().check("POST", {"host": "any.example"})
    Guard(origins=["*"]).check("DELETE", {"host": "any.example", "origin": "https://evil.example"})


def test_hosts_are_names() -> None:
    for wrong in ("https://chat.example", "chat.example:80", "chat.example/", ""):
        with pytest.raises(ValueError, match="allowed_hosts"):
            Guard([wrong])
    with pytest.raises(TypeError, match="list"):
        Guard("chat.example")
