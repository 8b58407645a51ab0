"""An agent of OpenAI's Agents SDK, which runs its tools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents import OpenAIResponsesModel
from openai import AsyncOpenAI

from . import Running, Script, load_example
from ._endpoint import http_client, responses_events, scripted_endpoint


@asynccontextmanager
async def run(script: Script) -> AsyncIterator[Running]:
    async with (
        scripted_endpoint(script, responses_events) as endpoint,
        http_client() as http,
        AsyncOpenAI(api_key="sk-secret", base_url=endpoint.base_url, http_client=http, max_retries=0) as client,
    ):
        handler = load_example("openai_agents_agent").make_handler(OpenAIResponsesModel("m", openai_client=client))
        yield Running(handler)
        await handler.aclose()
