"""Requests of the AI SDK's chat: of the client's copy of the history, the last message counts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from .._json import is_list, is_object
from ..errors import RequestError
from .requests import check_id

__all__ = ["Trigger", "UiRequest"]

Trigger: TypeAlias = Literal["submit-message", "regenerate-message"]

_TRIGGERS = frozenset({"submit-message", "regenerate-message"})

_PASSED_ON = ("model", "system", "toolset", "maxSteps", "onBusy")
"""The fields of the endpoint ``stream`` that a page may set as well."""

_REQUESTS = uuid.UUID("0b7f4e0c-6f58-4b5e-9a42-6f6a5f0f1d8a")
"""The namespace of the ids of requests that send a message."""


@dataclass(frozen=True, slots=True)
class UiRequest:
    """A request to send, edit or regenerate, or to go on after tools that ran on the page.

    ``message`` is the last of the client's messages, with the id ``message_id``. ``names_it`` is whether the request
    names that message, as an edit and the output of a tool do. ``options`` go to the endpoint ``stream`` as they are,
    and ``tools`` are those that the page runs.
    """

    chat_id: str
    trigger: Trigger
    message: Mapping[str, Any]
    message_id: str
    names_it: bool
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def parse(cls, body: object) -> UiRequest:
        """Return a checked request. Raises RequestError."""
        if not is_object(body):
            raise RequestError("The body must be a JSON object")
        chat_id, trigger, messages = body.get("id"), body.get("trigger", "submit-message"), body.get("messages")
        if not isinstance(chat_id, str) or not chat_id:
            raise RequestError("id is required: the id of the chat")
        if trigger not in _TRIGGERS:
            raise RequestError(f"trigger must be one of {', '.join(sorted(_TRIGGERS))}")
        message = messages[-1] if is_list(messages) and messages else None
        if not is_object(message):
            raise RequestError("messages is required: a list of UI messages, which may be the last one alone")
        role, message_id = message.get("role"), message.get("id")
        if role not in ("user", "assistant"):
            raise RequestError("The last message needs a role: user or assistant")
        if not isinstance(message_id, str) or not message_id:
            raise RequestError("The last message needs an id")
        if not is_list(message.get("parts")):
            raise RequestError("The last message needs parts, which are a list")
        return cls(
            chat_id=check_id("id", chat_id),
            trigger=cast("Trigger", trigger),
            message=message,
            message_id=check_id("The id of the last message", message_id),
            names_it=body.get("messageId") == message_id,
            options={name: body[name] for name in _PASSED_ON if body.get(name) is not None},
            tools=tuple(_tools(body.get("tools"))),
        )

    @property
    def is_question(self) -> bool:
        """Whether the last message is the user's."""
        return bool(self.message["role"] == "user")

    @property
    def prompt(self) -> str:
        """The text of the message."""
        texts = (part.get("text") for part in self._parts("text"))
        return "\n".join(text for text in texts if isinstance(text, str))

    @property
    def attachments(self) -> list[dict[str, Any]]:
        """The files of the message, as the endpoint ``stream`` takes them."""
        found: list[dict[str, Any]] = []
        for part in self._parts("file"):
            name = {"name": part["filename"]} if isinstance(part.get("filename"), str) else {}
            found.append({"mimeType": part.get("mediaType"), "url": part.get("url"), **name})
        return found

    @property
    def answers(self) -> dict[str, dict[str, Any]]:
        """The answers to calls, by their ids: of a user who was asked, and of the page that has run them."""
        found: dict[str, dict[str, Any]] = {}
        parts: list[Any] = self.message["parts"]
        for part in parts:
            if not is_object(part):
                continue
            call_id, state, approval = part.get("toolCallId"), part.get("state"), part.get("approval")
            if not isinstance(call_id, str):
                continue
            if state == "approval-responded" and is_object(approval):
                reason = {"reason": approval["reason"]} if approval.get("reason") is not None else {}
                found[call_id] = {"approved": approval.get("approved"), **reason}
            elif state == "output-available" and not part.get("providerExecuted"):
                found[call_id] = {"result": part.get("output")}
            elif state == "output-error" and not part.get("providerExecuted"):
                found[call_id] = {"result": {"error": part.get("errorText")}}
        return found

    @property
    def request_id(self) -> str:
        """The id of the request to send the message: one that is sent twice is one turn."""
        return str(uuid.uuid5(_REQUESTS, json.dumps([self.chat_id, self.message_id])))

    def _parts(self, kind: str) -> list[dict[str, Any]]:
        parts: list[Any] = self.message["parts"]
        return [part for part in parts if is_object(part) and part.get("type") == kind]


def _tools(tools: object) -> Iterator[Mapping[str, Any]]:
    """Yield the tools of an object by their names, as assistant-ui sends them; other values are an application's."""
    for name, tool in tools.items() if is_object(tools) else ():
        if is_object(tool) and is_object(tool.get("parameters")):
            described = {"description": tool["description"]} if tool.get("description") is not None else {}
            yield {"name": name, **described, "parameters": tool["parameters"]}
