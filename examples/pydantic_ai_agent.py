"""An agent of pydantic-ai as a durable reply: its reasoning, its text, its tools and what they return.

python examples/pydantic_ai_agent.py
"""

import asyncio

from pydantic_ai import Agent
from pydantic_ai.models import Model
from pydantic_ai.models.test import TestModel

from aibind.conversations import MemoryConversationStore
from aibind.integrations.pydantic_ai import PydanticAIModel
from aibind.server import StreamHandler


async def temperature(place: str) -> int:
    """Return the temperature at a place, in degrees Celsius."""
    return 21 if place else 0


def make_handler(model: Model | str) -> StreamHandler:
    """Make a handler whose model is an agent; ``"openai:gpt-5"`` is a model, too."""
    agent = PydanticAIModel(Agent(model, tools=[temperature]))
    return StreamHandler(model=agent, resumable=True, conversations=MemoryConversationStore())


async def main() -> None:
    reply = await make_handler(TestModel()).stream({"prompt": "How warm is it?", "sessionId": "me"})
    assert not isinstance(reply.body, bytes)
    async for data in reply.body:
        print(data.decode(), end="")


if __name__ == "__main__":
    asyncio.run(main())
