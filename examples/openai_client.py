"""OpenAI's own client as a durable reply, with a tool that the handler runs.

OPENAI_API_KEY=… python examples/openai_client.py
"""

import asyncio

from openai import AsyncOpenAI

from aibind.conversations import MemoryConversationStore
from aibind.integrations.openai import OpenAIClientModel
from aibind.server import StreamHandler, Tool


async def temperature(place: str) -> int:
    """Return the temperature at a place, in degrees Celsius."""
    return 21 if place else 0


SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TOOLS = {"weather": [Tool("temperature", "Returns the temperature at a place", temperature, SCHEMA)]}


def make_handler(client: AsyncOpenAI) -> StreamHandler:
    """Make a handler whose model is asked by a client; a request with ``"toolset": "weather"`` has the tool."""
    conversations, model = MemoryConversationStore(), OpenAIClientModel(client, "gpt-5-mini", api="responses")
    return StreamHandler(model=model, resumable=True, conversations=conversations, toolsets=TOOLS)


async def main() -> None:
    async with AsyncOpenAI() as client:  # reads OPENAI_API_KEY, and OPENAI_BASE_URL for another endpoint
        reply = await make_handler(client).stream({"prompt": "What is the tide?", "sessionId": "me"})
        assert not isinstance(reply.body, bytes)
        async for data in reply.body:
            print(data.decode(), end="")


if __name__ == "__main__":
    asyncio.run(main())
