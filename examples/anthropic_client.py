"""Anthropic's own client as a durable reply, with a tool that the handler runs.

ANTHROPIC_API_KEY=… python examples/anthropic_client.py
"""

import asyncio

from anthropic import AsyncAnthropic

from aibind.conversations import MemoryConversationStore
from aibind.integrations.anthropic import AnthropicClientModel
from aibind.server import StreamHandler, Tool


async def temperature(place: str) -> int:
    """Return the temperature at a place, in degrees Celsius."""
    return 21 if place else 0


SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TOOLS = {"weather": [Tool("temperature", "Returns the temperature at a place", temperature, SCHEMA)]}


def make_handler(client: AsyncAnthropic) -> StreamHandler:
    """Make a handler whose model is asked by a client; a request with ``"toolset": "weather"`` has the tool."""
    conversations, model = MemoryConversationStore(), AnthropicClientModel(client, "claude-sonnet-5")
    return StreamHandler(model=model, resumable=True, conversations=conversations, toolsets=TOOLS)


async def main() -> None:
    async with AsyncAnthropic() as client:  # reads ANTHROPIC_API_KEY
        reply = await make_handler(client).stream({"prompt": "What is the tide?", "sessionId": "me"})
        assert not isinstance(reply.body, bytes)
        async for data in reply.body:
            print(data.decode(), end="")


if __name__ == "__main__":
    asyncio.run(main())
