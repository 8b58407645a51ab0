"""A model of your own: anything that yields text can answer, and may call tools and raise errors.

python examples/own_model.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aibind.errors import ModelError
from aibind.models import Model, ModelEvent, ModelRequest, ToolCall, Usage
from aibind.server import StreamHandler, Tool
from aibind.streams import SseParser


class WeatherModel:
    """A model that asks a tool for the temperature. A real one would call an endpoint."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent | str]:
        """Answer the last message, which is a question or a tool's result."""
        last = request.messages[-1]
        if last["role"] == "tool":
            for word in f"The thermometer says {last['content']} degrees.".split(" "):
                yield word + " "  # or TextDelta(word + " ")
        elif not last["content"].strip():
            raise ModelError("There is nothing to answer", status=400)
        elif any(tool["name"] == "temperature" for tool in request.tools):
            yield ToolCall(id="call-1", name="temperature", arguments='{"place": "Bern"}')
        else:
            yield "I have no thermometer."
        yield Usage(input_tokens=len(request.messages), output_tokens=1)


async def temperature(place: str) -> int:
    """Return the temperature at a place, in degrees Celsius."""
    return {"Bern": 21}[place]


TEMPERATURE = Tool(
    "temperature",
    "Returns the temperature at a place, in degrees Celsius",
    temperature,
    {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
)


async def main() -> None:
    model: Model = WeatherModel()
    handler = StreamHandler(model=model, toolsets={"weather": [TEMPERATURE]})
    question = {"messages": [{"role": "user", "content": "How warm is it in Bern?"}], "toolset": "weather"}
    reply = await handler.chat(question)
    assert not isinstance(reply.body, bytes)  # it is streamed
    parser = SseParser()
    async for data in reply.body:
        for message in parser.feed(data):
            print(f"{message.event or 'text':12}{message.data}")


if __name__ == "__main__":
    asyncio.run(main())
