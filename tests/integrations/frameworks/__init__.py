"""Frameworks with their offline models, for the cases that every integration passes.

Each module here has a function ``run(script)``, an async context manager that yields a :class:`Running`: the example of
the framework, with an offline model of the framework in it that says what the script tells it to.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from aibind.server import StreamHandler

__all__ = ["CALL_ID", "FRAMEWORKS", "Piece", "Response", "Running", "Script", "ScriptedError", "load_example"]

FRAMEWORKS = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
CALL_ID = "call_1"
EXAMPLES = Path(__file__).parents[3] / "examples"

Piece = tuple[Literal["text", "reasoning", "call"], str]
"""What a model says next: text, reasoning, or the arguments of a call of ``temperature`` with CALL_ID as its id."""


class ScriptedError(Exception):
    """What a model fails with; no reader may see it."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response of a model: reasoning, text, and then a call, a failure, or text without an end."""

    reasoning: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    calls: bool = False
    fails: bool = False
    endless: bool = False


@dataclass
class Script:
    """The responses of a model, one after another. It keeps what was asked, as text, and counts what was closed."""

    responses: tuple[Response, ...]
    asked: list[str] = field(default_factory=list[str])
    closed: int = 0

    async def pieces(self, asked: str) -> AsyncIterator[Piece]:
        """Yield the next response, piece by piece; raise ScriptedError where it fails."""
        response = self.responses[len(self.asked)]
        self.asked.append(asked)
        try:
            for text in response.reasoning:
                yield "reasoning", text
            for text in response.text:
                yield "text", text
                await asyncio.sleep(0)
            while response.endless:
                yield "text", "word "
                await asyncio.sleep(0.001)
            if response.fails:
                raise ScriptedError("key sk-secret is out of money")
            if response.calls:
                yield "call", '{"place":"Bern"}'
        finally:
            self.closed += 1


@dataclass
class Running:
    """A framework's example with a scripted model.

    ``body`` is added to every request's. ``reasons`` is whether the framework's model can show its reasoning.
    """

    handler: StreamHandler
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    reasons: bool = True


def load_example(name: str) -> ModuleType:
    """Import a program of examples/."""
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
