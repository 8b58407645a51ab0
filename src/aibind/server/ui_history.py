"""Stored conversations as the AI SDK's pages show them: UI messages, and the events that they were made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .._json import compact_json, is_list, is_object, load_json
from ..conversations.files import FileReference
from ..history import ChatHistory
from ..history.node import Message, TreeNode
from ..protocols.ui_view import ui_parts
from ..streams.events import StreamEvent
from ..streams.store import StreamEnd
from .exchanges import answers_in, is_approval, nodes_of, requests_in

__all__ = ["UiMessage", "ui_messages"]

_SHOWN = ("usage", "finish", "error")
"""The metadata of a stored answer that pages are shown."""


@dataclass(slots=True)
class UiMessage:
    """A message on a page: a question, or all messages of an answer.

    ``id`` is the page's own id for a question, and for an answer that of the stream that began it. ``answered_by``
    holds a user's answers from which a stream goes on, whose own events tell them.
    """

    id: str
    role: str
    nodes: list[TreeNode] = field(default_factory=list[TreeNode])
    answered_by: TreeNode | None = None

    @property
    def last(self) -> TreeNode:
        """The last of the stored messages."""
        return self.nodes[-1]

    @property
    def events(self) -> Iterator[StreamEvent]:
        """The events of an answer, as far as they are stored; of calls that wait or waited, the newest state."""
        answering = [*self.nodes, self.answered_by] if self.answered_by is not None else self.nodes
        answers = {answer.get("id") for node in answering for answer in _answers_in(node)}
        is_declined = any(node.message.get("declined") is True for node in self.nodes)
        for node in self.nodes:
            yield from _events_of(node.message)
            for request in requests_in(node):
                if request.get("id") not in answers and not is_declined:
                    yield StreamEvent("approval_request", compact_json(request))
                elif request.get("id") not in answers:
                    yield StreamEvent("approval", compact_json({"id": request.get("id"), "approved": False}))
            for answer in _answers_in(node):
                if answer.get("approved") is False:
                    yield StreamEvent("approval", compact_json(answer))

    @property
    def requested(self) -> frozenset[str]:
        """The ids of the calls that users, or the page, were asked about."""
        return frozenset(str(request.get("id")) for node in self.nodes for request in requests_in(node))

    def up_to(self, stream_id: str) -> UiMessage | None:
        """Return what the message had when a stream went on with it; None when the stream did not."""
        for place, node in enumerate(self.nodes):
            if node.metadata.get("streamId") == stream_id:
                return UiMessage(self.id, self.role, self.nodes[:place], node) if place else None
        return None

    @property
    def end(self) -> StreamEnd:
        """How an answer ended."""
        finish, error = (self.last.metadata.get(name) for name in ("finish", "error"))
        if finish == "error":
            return StreamEnd("error", error if isinstance(error, str) else None)
        return StreamEnd("stopped" if finish == "stopped" else "done")

    def is_known_as(self, message_id: str) -> bool:
        """Return whether a page knows the message by this id."""
        return self.id == message_id or self.nodes[0].id == message_id

    def to_json(self, files: str, typed_tools: frozenset[str]) -> dict[str, Any]:
        """Return the message as the AI SDK has it. ``files`` is the path that the ids of its files are below."""
        metadata = {name: self.last.metadata[name] for name in _SHOWN if name in self.last.metadata}
        shown = {"metadata": metadata} if metadata else {}
        if self.role == "assistant":
            return {"id": self.id, "role": self.role, "parts": ui_parts(self.events, typed_tools), **shown}
        return {"id": self.id, "role": self.role, "parts": list(_parts_of(self.nodes[0].message, files))}


def ui_messages(chat: ChatHistory) -> list[UiMessage]:
    """Return the messages of the current path, as far as it was loaded."""
    shown: list[UiMessage] = []
    for node in nodes_of(chat):
        role = str(node.message.get("role"))
        role = "assistant" if role == "tool" else role
        if role != "assistant" or not shown or shown[-1].role != "assistant":
            named = node.metadata.get("streamId" if role == "assistant" else "messageId")
            shown.append(UiMessage(named if isinstance(named, str) else node.id, role))
        shown[-1].nodes.append(node)
    return shown


def _events_of(message: Message) -> Iterator[StreamEvent]:
    if is_approval(message):
        return
    if message.get("role") == "tool":
        result = {"id": message.get("tool_call_id"), "name": message.get("name", "")}
        yield StreamEvent("tool_result", compact_json({**result, "result": _value(message.get("content"))}))
        return
    for name, text in (("reasoning", message.get("reasoning")), ("", message.get("content"))):
        if isinstance(text, str) and text:
            yield StreamEvent(name, text)
    calls = message.get("tool_calls")
    for call in filter(is_object, calls if is_list(calls) else ()):
        function = call.get("function")
        asked: Mapping[str, Any] = function if is_object(function) else {}
        known = {"id": call.get("id"), "name": asked.get("name", "")}
        yield StreamEvent("tool_call", compact_json({**known, "args": _value(asked.get("arguments"))}))


def _answers_in(node: TreeNode) -> list[Mapping[str, Any]]:
    return answers_in(node.message) if is_approval(node.message) else []


def _value(text: object) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return load_json(text)
    except (ValueError, RecursionError):
        return text


def _parts_of(message: Message, files: str) -> Iterator[dict[str, Any]]:
    content: Any = message.get("content")
    if isinstance(content, str):
        yield {"type": "text", "text": content}
        return
    parts: Iterable[Any] = content if is_list(content) else ()
    for part in filter(is_object, parts):
        reference = FileReference.from_part(part)
        if reference is not None:
            named = {"filename": reference.name} if reference.name else {}
            url = f"{files}/{quote(reference.sha256)}"
            yield {"type": "file", "mediaType": reference.mime_type, "url": url, **named}
        elif part.get("type") == "text":
            yield {"type": "text", "text": str(part.get("text", ""))}
        elif part.get("type") == "image_url" and is_object(part.get("image_url")):
            yield {"type": "file", "mediaType": "image/*", "url": str(part["image_url"].get("url", ""))}
