"""A chat model of LangChain as a durable reply, with a tool that the handler runs.

python examples/langchain_model.py
"""

import asyncio

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from aibind.conversations import MemoryConversationStore
from aibind.integrations.langchain import LangChainModel
from aibind.server import StreamHandler, Tool


async def temperature(place: str) -> int:
    """Return the temperature at a place, in degrees Celsius."""
    return 21 if place else 0


SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TOOLS = {"weather": [Tool("temperature", "Returns the temperature at a place", temperature, SCHEMA)]}


def make_handler(chat_model: BaseChatModel) -> StreamHandler:
    """Make a handler whose model is LangChain's; a request with ``"toolset": "weather"`` has the tool."""
    conversations, model = MemoryConversationStore(), LangChainModel(chat_model)
    return StreamHandler(model=model, resumable=True, conversations=conversations, toolsets=TOOLS)


async def main() -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("Good day!")]))  # ChatOpenAI(…), ChatAnthropic(…)
    reply = await make_handler(model).stream({"prompt": "Hello", "sessionId": "me"})
    assert not isinstance(reply.body, bytes)
    async for data in reply.body:
        print(data.decode(), end="")


if __name__ == "__main__":
    asyncio.run(main())
