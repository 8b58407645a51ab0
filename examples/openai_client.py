"""OpenAI's own client as a model: its replies are durable, and its requests are yours to configure.

OPENAI_API_KEY=… python examples/openai_client.py
"""

import asyncio

from openai import AsyncOpenAI

from aibind.integrations.openai import OpenAIClientModel
from aibind.server import StreamHandler


async def main() -> None:
    async with AsyncOpenAI() as client:  # reads OPENAI_API_KEY, and OPENAI_BASE_URL for another endpoint
        handler = StreamHandler(model=OpenAIClientModel(client, "gpt-5-mini"), resumable=True)
        reply = await handler.stream({"prompt": "How do I order the logs of two machines?"})
        assert not isinstance(reply.body, bytes)
        async for data in reply.body:
            print(data.decode(), end="")


if __name__ == "__main__":
    asyncio.run(main())
