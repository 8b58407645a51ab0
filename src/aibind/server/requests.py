"""Request bodies and parameters, checked. Names on the wire are camelCase (contract, section 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .._json import is_list, is_object
from ..errors import RequestError
from ..models.model import Message
from .attachment_body import Attachment, are_large, parse_attachments
from .page_tools import parse_page_tools
from .tools import Tool

__all__ = [
    "ChatBody",
    "CompactBody",
    "CompleteBody",
    "StreamBody",
    "TitleBody",
    "check_id",
    "ids_in",
    "is_large",
    "parse_after",
    "parse_id",
]

MAX_STEPS = 50
"""The limit of the rounds of tool calls that a client may ask for."""

MAX_SESSION_BYTES = 400
"""The limit of the id of a session or stream, in bytes of UTF-8: with a prefix it must fit KV's 512."""

MAX_ID_DIGITS = 100
"""The limit of a message id's digits, checked before int() so that clients see our error and not Python's."""

_ACTIONS_OF_SESSIONS = frozenset({"stream", "structured", "title", "compact"})

_ROLES = frozenset({"user", "assistant", "system", "tool"})


@dataclass(frozen=True, slots=True)
class StreamBody:
    """The body of ``stream`` and ``structured``.

    ``edit`` (the id of a user's message) makes the prompt an alternative to that message; ``regenerate`` (the id of
    any message of an answer, or of an unanswered message) asks for another answer, without a prompt. Both need a
    ``sessionId``. ``toolset`` names the tools that the model may call, in ``max_steps`` rounds at most, and ``tools``
    are those that the page runs.
    With ``attachments`` the prompt may be empty. ``message_id`` is the page's own id for the question, which is kept.
    """

    prompt: str
    system: str | None
    model: str | None
    session_id: str | None
    schema: Mapping[str, Any]
    edit: str | None
    regenerate: str | None
    toolset: str | None
    max_steps: int
    attachments: Sequence[Attachment]
    message_id: str | None = None
    tools: Sequence[Tool] = ()

    def question(self, *, by_reference: bool = False) -> Message:
        """Return the user's message: the prompt, and the attachments or the references to them."""
        if not self.attachments:
            return {"role": "user", "content": self.prompt}
        text = [{"type": "text", "text": self.prompt}] if self.prompt else []
        parts = [attachment.to_part(by_reference=by_reference) for attachment in self.attachments]
        return {"role": "user", "content": [*text, *parts]}

    def to_go_on(self, *, structured: bool) -> dict[str, Any]:
        """Return what a process needs to go on with the turn after calls that wait for a user, as a JSON value."""
        names = {"model": self.model, "system": self.system, "toolset": self.toolset}
        given: dict[str, Any] = {name: value for name, value in names.items() if value is not None}
        if self.tools:
            given["tools"] = [tool.declaration for tool in self.tools]
        return {**given, "maxSteps": self.max_steps, **({"schema": dict(self.schema)} if structured else {})}

    @classmethod
    def parse(cls, body: object) -> StreamBody:
        """Return a checked body."""
        fields = _object(body)
        regenerate = _optional(fields, "regenerate")
        attachments = parse_attachments(fields.get("attachments"))
        schema = fields.get("schema")
        if schema is not None and not isinstance(schema, dict):
            raise RequestError("schema must be a JSON schema, which is an object")
        parsed = cls(
            prompt="" if regenerate else _prompt(fields, is_required=not attachments),
            system=_optional(fields, "system"),
            model=_optional(fields, "model"),
            session_id=_session_id(fields),
            schema=cast("dict[str, Any]", schema or {}),
            edit=_optional(fields, "edit"),
            regenerate=regenerate,
            toolset=_optional(fields, "toolset"),
            max_steps=_max_steps(fields),
            attachments=attachments,
            message_id=_message_id(fields),
            tools=parse_page_tools(fields.get("tools")),
        )
        if (parsed.edit or parsed.regenerate) and not parsed.session_id:
            raise RequestError("edit and regenerate need a sessionId")
        if parsed.edit and parsed.regenerate:
            raise RequestError("edit and regenerate exclude each other")
        if parsed.regenerate and attachments:
            raise RequestError("regenerate asks a stored question again: leave out attachments, or edit the question")
        return parsed


@dataclass(frozen=True, slots=True)
class ChatBody:
    """The body of ``chat``."""

    messages: Sequence[Message]
    system: str | None
    model: str | None
    toolset: str | None
    max_steps: int
    attachments: Sequence[Attachment]

    @classmethod
    def parse(cls, body: object) -> ChatBody:
        """Return a checked body.

        Attachments of a user's message become parts of it, and ``attachments`` of the body parts of the last one.
        """
        fields = _object(body)
        messages, attached = _attach_own(_messages(fields, allow_empty=False))
        attachments = parse_attachments(fields.get("attachments"))
        return cls(
            messages=_attach(messages, attachments),
            system=_optional(fields, "system"),
            model=_optional(fields, "model"),
            toolset=_optional(fields, "toolset"),
            max_steps=_max_steps(fields),
            attachments=(*attached, *attachments),
        )


@dataclass(frozen=True, slots=True)
class CompleteBody:
    """The body of ``complete``."""

    input: str
    system: str | None
    model: str | None

    @classmethod
    def parse(cls, body: object) -> CompleteBody:
        """Return a checked body."""
        fields = _object(body)
        return cls(_required(fields, "input"), _optional(fields, "system"), _optional(fields, "model"))


@dataclass(frozen=True, slots=True)
class TitleBody:
    """The body of ``title``."""

    messages: Sequence[Message]
    model: str | None
    session_id: str | None

    @classmethod
    def parse(cls, body: object) -> TitleBody:
        """Return a checked body."""
        fields = _object(body)
        return cls(_messages(fields, allow_empty=False), _optional(fields, "model"), _session_id(fields))


@dataclass(frozen=True, slots=True)
class CompactBody:
    """The body of ``compact``."""

    messages: Sequence[Message]
    model: str | None
    session_id: str | None

    @classmethod
    def parse(cls, body: object) -> CompactBody:
        """Return a checked body. An empty list of messages is allowed, as JavaScript clients may send one."""
        fields = _object(body)
        return cls(_messages(fields, allow_empty=True), _optional(fields, "model"), _session_id(fields))


def is_large(body: object) -> bool:
    """Return whether a body takes long to check: it holds files, or messages with parts that may be files."""
    if not isinstance(body, dict):
        return False
    fields = cast("dict[str, Any]", body)
    messages = fields.get("messages")
    return are_large(fields.get("attachments")) or (
        is_list(messages) and any(is_object(message) and is_list(message.get("content")) for message in messages)
    )


def parse_id(body: object) -> str:
    """Return the id in the body of ``stream/stop``."""
    value = _object(body).get("id")
    if not isinstance(value, str) or not value:
        raise RequestError("id is required")
    return check_id("id", value)


def ids_in(body: object, *, action: str) -> tuple[str | None, str | None]:
    """Return the session's and the stream's id that a body names, as far as its endpoint knows them."""
    if action == "stop":
        return None, parse_id(body)
    return _session_id(_object(body)) if action in _ACTIONS_OF_SESSIONS else None, None


def parse_after(after: str | None, stream_id: str | None = None) -> int:
    """Return the id of the last message seen: 0 when it is absent, or when it is that of ``stream-id``."""
    if after and after == stream_id and not after.isdecimal():
        return 0
    if after and not (len(after) <= MAX_ID_DIGITS and after.isascii() and after.isdigit()):
        raise RequestError("after parameter must be the id of the last message seen, a whole number")
    return int(after or 0)


def _object(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise RequestError("The body must be a JSON object")
    return cast("dict[str, Any]", body)


def _required(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RequestError(f"{name} is required")
    return value


def _prompt(fields: dict[str, Any], *, is_required: bool) -> str:
    return _required(fields, "prompt") if is_required else _optional(fields, "prompt") or ""


def _optional(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise RequestError(f"{name} must be a string")
    return value


def _max_steps(fields: dict[str, Any]) -> int:
    value = fields.get("maxSteps", 5 if "toolset" in fields or fields.get("tools") else 1)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_STEPS:
        raise RequestError(f"maxSteps must be a whole number from 1 to {MAX_STEPS}")
    return value


def _session_id(fields: dict[str, Any]) -> str | None:
    value = _optional(fields, "sessionId")
    if not value:
        return None
    return check_id("sessionId", value)


def _message_id(fields: dict[str, Any]) -> str | None:
    value = _optional(fields, "messageId")
    return check_id("messageId", value) if value else None


def check_id(name: str, value: str) -> str:
    """Return an id of a session or a stream that a request names. Raises RequestError for one that cannot be.

    JSON can hold half of a character, which a store cannot look up.
    """
    if len(value) > MAX_SESSION_BYTES or len(value.encode("utf-8", "surrogatepass")) > MAX_SESSION_BYTES:
        raise RequestError(f"{name} is longer than {MAX_SESSION_BYTES} bytes")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise RequestError(f"{name} holds half of a character (a lone surrogate)")
    return value


def _messages(fields: dict[str, Any], *, allow_empty: bool) -> list[Message]:
    value = fields.get("messages")
    if not isinstance(value, list) or not (value or allow_empty):
        raise RequestError("messages is required")
    messages = cast("list[object]", value)
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict):
            raise RequestError(f"Message {number} must be an object with role and content")
        role = cast("dict[str, Any]", message).get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise RequestError(f"Message {number} needs a role: one of {', '.join(sorted(_ROLES))}")
        content = cast("dict[str, Any]", message).get("content")
        if not isinstance(content, str | None) and not _is_list_of_objects(content):
            raise RequestError(f"Message {number} needs content: a string, or a list of parts, which are objects")
        calls = cast("dict[str, Any]", message).get("tool_calls")
        if calls is not None and not _is_list_of_objects(calls):
            raise RequestError(f"Message {number} has tool_calls that are not a list of objects")
    return cast("list[Message]", messages)


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in cast("list[object]", value))


def _attach_own(messages: list[Message]) -> tuple[list[Message], list[Attachment]]:
    """Return messages with the attachments that each user's message brings as parts of it, and those attachments.

    Those of other messages are dropped, as no provider takes files from an assistant.
    """
    found: list[Attachment] = []
    attached: list[Message] = []
    for number, message in enumerate(messages, 1):
        if "attachments" in message:
            value = message["attachments"]
            message = {name: part for name, part in message.items() if name != "attachments"}
            if message["role"] == "user":
                try:
                    own = parse_attachments(value)
                except RequestError as error:
                    raise RequestError(f"Message {number}: {error}") from error
                message = _with_parts(message, own)
                found += own
        attached.append(message)
    return attached, found


def _attach(messages: list[Message], attachments: Sequence[Attachment]) -> list[Message]:
    """Return messages with attachments in the last user message."""
    if not attachments:
        return messages
    for index in range(len(messages) - 1, -1, -1):
        if messages[index]["role"] == "user":
            return [*messages[:index], _with_parts(messages[index], attachments), *messages[index + 1 :]]
    raise RequestError("attachments need a user message to go with")


def _with_parts(message: Message, attachments: Sequence[Attachment]) -> Message:
    """Return a message with attachments as parts of chat completions."""
    if not attachments:
        return message
    content: Any = message.get("content") or []
    own: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    parts = [attachment.to_part(by_reference=False) for attachment in attachments]
    return {**message, "content": [*own, *parts]}
