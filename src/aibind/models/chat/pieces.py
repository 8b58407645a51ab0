"""Joins what a streamed reply brings in pieces: characters and tool calls."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..._text import join_surrogates
from ..model import ToolCall

__all__ = ["CallJoiner", "JoinedCall", "TextJoiner"]


class TextJoiner:
    """Joins surrogate pairs that were cut between two pieces; a surrogate that stays alone becomes U+FFFD.

    JSON can carry half of such a character, UTF-8 cannot, so it would fail far from here: in the database.
    """

    def __init__(self) -> None:
        self._held = ""

    def join(self, piece: str) -> str:
        """Take a piece and return what can be shown of it now, which may be nothing."""
        text = self._held + piece
        self._held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._held, text = text[-1], text[:-1]
        return join_surrogates(text)

    def rest(self) -> str:
        """Return what was held back, at the end."""
        text, self._held = self._held, ""
        return join_surrogates(text)


@dataclass(slots=True)
class JoinedCall:
    """Is a call as far as it has come."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


class CallJoiner:
    """Puts tool calls together from their pieces.

    A piece belongs to the call with its index. Endpoints take liberties: Gemini's omits the index or gives every call
    index 0, so a piece with a name and another id begins a new call as well; others repeat id and name in each piece.
    """

    def __init__(self) -> None:
        self.calls: list[JoinedCall] = []
        self._by_index: dict[int, JoinedCall] = {}

    def __bool__(self) -> bool:
        return bool(self.calls)

    def take(self, piece: Mapping[str, Any]) -> None:
        """Take one piece. Raises TypeError or AttributeError for one of another shape."""
        function: Mapping[str, Any] = piece.get("function") or {}
        identity, name, index = str(piece.get("id") or ""), str(function.get("name") or ""), piece.get("index")
        latest = self.calls[-1] if self.calls else None
        call = self._by_index.get(index) if isinstance(index, int) else latest
        is_named = call is not None and bool(call.id or call.name)  # else its arguments came before its name
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
        elif arguments is not None:  # an object, from endpoints that do not write it as text
            call.arguments.append(json.dumps(arguments, ensure_ascii=False))

    def whole(self) -> list[ToolCall]:
        """Return the calls in the order they began; one without an id gets one."""
        return [
            ToolCall(call.id or f"call_{uuid.uuid4().hex[:24]}", call.name, join_surrogates("".join(call.arguments)))
            for call in self.calls
        ]
