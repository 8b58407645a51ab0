"""An agent of OpenAI's Agents SDK as a durable reply, with the tools that it runs.

OPENAI_API_KEY=… python examples/openai_agents_agent.py
"""

import asyncio

from agents import Agent, Model, function_tool, set_tracing_disabled

from aibind.conversations import MemoryConversationStore
from aibind.integrations.openai_agents import OpenAIAgentsModel
from aibind.server import StreamHandler


@function_tool
async def temperature(place: str) -> int:
    """Return the temperature at a place, in degrees Celsius."""
    return 21 if place else 0


def make_handler(model: Model | str) -> StreamHandler:
    """Make a handler whose model is an agent."""
    set_tracing_disabled(disabled=True)  # else the SDK sends what is said to OpenAI's traces
    agent = Agent(name="Weather", instructions="Be brief", model=model, tools=[temperature])
    conversations = MemoryConversationStore()
    return StreamHandler(model=OpenAIAgentsModel(agent), resumable=True, conversations=conversations)


async def main() -> None:
    reply = await make_handler("gpt-5-mini").stream({"prompt": "What is the tide?", "sessionId": "me"})
    assert not isinstance(reply.body, bytes)
    async for data in reply.body:
        print(data.decode(), end="")


if __name__ == "__main__":
    asyncio.run(main())
