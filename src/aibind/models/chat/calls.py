"""Tool calls, put together from the pieces of a streamed reply."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..._text import join_surrogates
from ..model import ToolCall

__all__ = ["CallJoiner", "JoinedCall"]


@dataclass(slots=True)
class JoinedCall:
    """A call as far as it has arrived."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


class CallJoiner:
    """The tool calls of one reply, joined from their pieces.

    A piece belongs to the call with its index. Endpoints deviate: Gemini's omits the index or gives every call index 0,
    so a piece with a name and another id begins a new call too; others repeat id and name in each piece.
    """

    def __init__(self) -> None:
        self.calls: list[JoinedCall] = []
        self._by_index: dict[int, JoinedCall] = {}

    def __bool__(self) -> bool:
        return bool(self.calls)

    def take(self, piece: Mapping[str, Any]) -> None:
        """Add one piece. Raises TypeError or AttributeError for one of another shape."""
        function: Mapping[str, Any] = piece.get("function") or {}
        identity, name, index = str(piece.get("id") or ""), str(function.get("name") or ""), piece.get("index")
        latest = self.calls[-1] if self.calls else None
        call = self._by_index.get(index) if isinstance(index, int) else latest
        is_named = call is not None and bool(call.id or call.name)  # its arguments may come before its name
        if call is None or (name and is_named and (identity != call.id if identity else index is None)):
            call = JoinedCall()
            self.calls.append(call)
        if isinstance(index, int):
            self._by_index[index] = call
        call.id = call.id or identity
        call.name = call.name or name
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            call.arguments.append(arguments)
        elif arguments is not None:  # some endpoints send an object instead of its text
            call.arguments.append(json.dumps(arguments, ensure_ascii=False))

    def whole(self) -> list[ToolCall]:
        """Return the calls in the order in which they began; one without an id gets one."""
        return [
            ToolCall(call.id or f"call_{uuid.uuid4().hex[:24]}", call.name, join_surrogates("".join(call.arguments)))
            for call in self.calls
        ]
