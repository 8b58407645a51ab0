"""An agent of pydantic-ai as a durable reply: its text, its tools and what they return.

python examples/pydantic_ai_agent.py
"""

import asyncio

from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from aibind.integrations.pydantic_ai import PydanticAIModel
from aibind.server import StreamHandler

agent = Agent(TestModel())  # or Agent("openai:gpt-5")


@agent.tool_plain
async def temperature(place: str) -> int:
    """Return the temperature at a place, in degrees Celsius."""
    return 21 if place else 0


async def main() -> None:
    handler = StreamHandler(model=PydanticAIModel(agent), resumable=True)
    reply = await handler.stream({"prompt": "How warm is it?"})
    assert not isinstance(reply.body, bytes)
    async for data in reply.body:
        print(data.decode(), end="")


if __name__ == "__main__":
    asyncio.run(main())
