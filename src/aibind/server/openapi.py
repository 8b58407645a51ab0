"""The endpoints as OpenAPI describes them: paths, parameters, bodies and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from .access import Action
from .busy import OnBusy
from .claims import MAX_REQUEST_ID_CHARS
from .page_tools import MAX_PAGE_TOOLS
from .requests import MAX_SESSION_BYTES, MAX_STEPS
from .session_requests import MAX_LIMIT
from .session_titles import MAX_TITLE_CHARS

__all__ = ["OPERATIONS", "Operation"]

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint. ``path`` is below the prefix, with ``{session_id}`` and ``{file_id}`` for segments of any text.

    ``aliases`` are other paths of it, at which the JavaScript clients look for it.
    """

    action: Action
    method: str
    path: str
    summary: str
    answer: str
    content_type: str | None = "application/json"
    body: Schema | None = None
    query: Mapping[str, Schema] = field(default_factory=dict[str, Schema])
    headers: Mapping[str, Schema] = field(default_factory=dict[str, Schema])
    required: tuple[str, ...] = ()
    status: int = 200
    refusals: Mapping[int, str] = field(default_factory=dict[int, str])
    aliases: tuple[str, ...] = ()

    @property
    def is_of_sessions(self) -> bool:
        """Whether it needs a store that lists sessions."""
        return self.path.startswith("/sessions")

    @property
    def is_of_streams(self) -> bool:
        """Whether it needs durable streams."""
        return self.action in ("stop", "resume")

    @property
    def extra(self) -> dict[str, Any]:
        """The parameters and the body, which FastAPI does not see in a signature."""
        places = {"query": self.query, "header": self.headers}
        parameters = [
            {"name": name, "in": place, "required": name in self.required, "schema": dict(schema)}
            for place, named in places.items()
            for name, schema in named.items()
        ]
        extra: dict[str, Any] = {"parameters": parameters} if parameters else {}
        if self.body is not None:
            extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": dict(self.body)}}}
        return extra

    @property
    def responses(self) -> dict[int | str, dict[str, Any]]:
        """The answers by status."""
        content = {} if self.content_type is None else {"content": {self.content_type: {"schema": {"type": "string"}}}}
        if self.content_type == "application/json":
            content = {"content": {"application/json": {"schema": {"type": "object"}}}}
        refused = {400: "The request is wrong", 421: "The server does not answer for this host", **self.refusals}
        if self.method != "GET":
            refused[403] = "The page of another site asks"
        if self.body is not None:
            refused |= {408: _SLOW, 413: _LARGE, 415: "The body is not declared as JSON"}
            refused.setdefault(429, _BODIES)
        return {
            self.status: {"description": self.answer, **content},
            **{status: {"description": why, "content": _ERROR} for status, why in refused.items()},
        }


def _object(required: tuple[str, ...], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


_ERROR = {"application/json": {"schema": _object(("error",), error={"type": "string"})}}

_SLOW = "The body took too long to arrive"
_LARGE = "The body is too large"
_BODIES = "Too many replies are under way, or too many bodies are arriving"

_TEXT: Schema = {"type": "string"}
_SESSION_ID: Schema = {"type": "string", "description": f"at most {MAX_SESSION_BYTES} bytes of UTF-8"}
_REPLY = "The reply, as server-sent events: all of them for Accept: text/event-stream"
_EVENTS = "text/event-stream"

_ATTACHMENT = _object(
    ("mimeType",),
    mimeType=_TEXT,
    data={"type": "string", "contentEncoding": "base64", "description": "the file; this or url"},
    url={"type": "string", "format": "uri"},
    name=_TEXT,
)

_MESSAGE: dict[str, Schema] = {
    "role": {"type": "string", "enum": ["assistant", "system", "tool", "user"]},
    "content": {"anyOf": [_TEXT, {"type": "array", "items": {"type": "object"}}, {"type": "null"}]},
    "tool_calls": {"type": "array", "items": {"type": "object"}},
}
_ATTACHMENTS: Schema = {"type": "array", "items": _ATTACHMENT}

_MESSAGES: Schema = {"type": "array", "items": _object(("role",), **_MESSAGE)}
_ATTACHED_MESSAGES: Schema = {"type": "array", "items": _object(("role",), **_MESSAGE, attachments=_ATTACHMENTS)}

_REQUEST_ID: Schema = {
    "type": "string",
    "maxLength": MAX_REQUEST_ID_CHARS,
    "description": "random; a request that is repeated with it is answered once",
}

_WITH_TOOLS: dict[str, Schema] = {
    "requestId": _REQUEST_ID,
    "system": _TEXT,
    "model": {"type": "string", "description": "the key of one of the handler's models"},
    "toolset": _TEXT,
    "maxSteps": {"type": "integer", "minimum": 1, "maximum": MAX_STEPS},
    "attachments": _ATTACHMENTS,
}

_TURN: dict[str, Schema] = {
    "prompt": {"type": "string", "description": "needed without attachments and regenerate"},
    "sessionId": _SESSION_ID,
    "edit": {"type": "string", "description": "the id of the question that this one replaces"},
    "regenerate": {"type": "string", "description": "the id of a message whose question is to be answered again"},
    "messageId": {"type": "string", "description": "the page's own id for the question, which is kept in its metadata"},
    "onBusy": {"type": "string", "enum": list(get_args(OnBusy)), "description": "if the session has a reply under way"},
    **_WITH_TOOLS,
    "tools": {
        "type": "array",
        "maxItems": MAX_PAGE_TOOLS,
        "items": _object(("name",), name=_TEXT, description=_TEXT, parameters={"type": "object"}),
        "description": "tools that the page runs",
    },
}

_APPROVAL: Schema = {
    "anyOf": [
        {"type": "boolean"},
        _object(
            (),
            approved={"type": "boolean"},
            args={"type": "object", "description": "the arguments to run it with"},
            reason={"type": "string", "description": "for the model"},
            retry={
                "anyOf": [{"type": "boolean", "const": True}, {"type": "integer", "minimum": 1}],
                "description": "run a call again whose outcome is not known: true, or its attempts",
            },
        ),
    ]
}

_LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50}
_AFTER: Schema = {"type": "integer", "minimum": 0, "description": "the id of the last message seen"}
_LAST_EVENT_ID: Schema = {"type": "string", "description": "the same, or the stream's id, and overrides it"}
_TITLE: Schema = {"type": "string", "maxLength": MAX_TITLE_CHARS}

_ONCE: Mapping[str, Schema] = {"Idempotency-Key": _REQUEST_ID}
_BUSY = {
    409: "A reply of the session is under way, or another body had this id",
    429: "Too many requests wait, or too many replies are under way",
}
_FAILURES = {502: "The model failed", 504: "The model did not answer in time"}
_UNKNOWN_SESSION = {404: "There is no such session"}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "stream",
        "POST",
        "/stream",
        "Answer a prompt with text",
        _REPLY,
        _EVENTS,
        _object((), **_TURN),
        headers=_ONCE,
        refusals=_BUSY,
    ),
    Operation(
        "structured",
        "POST",
        "/structured",
        "Answer a prompt with JSON, as it grows",
        _REPLY,
        _EVENTS,
        _object((), **_TURN, schema={"type": "object", "description": "the JSON schema of the answer"}),
        headers=_ONCE,
        refusals=_BUSY,
    ),
    Operation(
        "chat",
        "POST",
        "/chat",
        "Answer a conversation that the client keeps",
        _REPLY,
        _EVENTS,
        _object(("messages",), messages=_ATTACHED_MESSAGES, **_WITH_TOOLS),
        headers=_ONCE,
        refusals={409: "Another body had this id"},
    ),
    Operation(
        "complete",
        "POST",
        "/complete",
        "Continue a text",
        "The text that follows",
        "text/plain",
        _object(("input",), input=_TEXT, system=_TEXT, model=_TEXT),
        refusals=_FAILURES,
    ),
    Operation(
        "title",
        "POST",
        "/title",
        "Name a conversation",
        "The title",
        "text/plain",
        _object(("messages",), messages=_MESSAGES, model=_TEXT, sessionId=_SESSION_ID),
        refusals=_FAILURES,
    ),
    Operation(
        "compact",
        "POST",
        "/compact",
        "Condense a conversation",
        "The summary, and the number of tokens that it saves",
        body=_object(("messages",), messages=_MESSAGES, model=_TEXT, sessionId=_SESSION_ID),
        refusals=_FAILURES,
        aliases=("/stream/compact", "/structured/compact", "/chat/compact"),
    ),
    Operation(
        "stop",
        "POST",
        "/stream/stop",
        "Stop a reply",
        "It has stopped, or there is none",
        body=_object(("id",), id=_TEXT),
        aliases=("/structured/stop", "/chat/stop"),
    ),
    Operation(
        "resume",
        "GET",
        "/stream/resume",
        "Continue to read a reply",
        "The rest of the reply, as server-sent events",
        _EVENTS,
        query={"id": _TEXT, "after": _AFTER, "short": {"type": "boolean", "default": False}},
        headers={"Last-Event-ID": _LAST_EVENT_ID},
        required=("id",),
        refusals={
            204: "Last-Event-ID is the id of done: nothing follows",
            404: "There is no such reply, or it has expired",
        },
        aliases=("/structured/resume", "/chat/resume"),
    ),
    Operation(
        "list",
        "GET",
        "/sessions",
        "List the sessions",
        "The sessions, most recently saved first",
        query={"limit": _LIMIT, "before": _TEXT, "live": {"type": "boolean"}},
    ),
    Operation(
        "import",
        "POST",
        "/sessions/import",
        "Store an exported conversation as a new session",
        "The id of the session",
        body={"type": "object", "description": "what export returned"},
        query={"sessionId": _SESSION_ID, "title": _TITLE},
        status=201,
        refusals={409: "There is a session of this id"},
    ),
    Operation(
        "attach",
        "GET",
        "/sessions/{session_id}/stream",
        "Follow the reply under way",
        _REPLY,
        _EVENTS,
        query={"after": _AFTER},
        headers={"Last-Event-ID": _LAST_EVENT_ID},
        refusals={204: "No reply is under way"},
    ),
    Operation(
        "export",
        "GET",
        "/sessions/{session_id}/export",
        "Return a whole conversation",
        "The conversation, as a file",
        refusals=_UNKNOWN_SESSION,
    ),
    Operation(
        "approvals",
        "GET",
        "/sessions/{session_id}/approvals",
        "List the calls that wait for approval",
        "The calls; none of a session that is unknown",
        refusals={501: "This server asks nobody for approval"},
    ),
    Operation(
        "approve",
        "POST",
        "/sessions/{session_id}/approvals",
        "Answer calls that wait for approval",
        "The rest of the reply, as server-sent events, once all calls are answered",
        _EVENTS,
        _object(("approvals",), approvals={"type": "object", "additionalProperties": _APPROVAL}),
        refusals={
            202: "Other calls still wait: they are listed",
            204: "The turn has gone on, and its reply has expired",
            404: "No such call waits",
            409: "The call has another answer, or its outcome is not known",
            501: "This server asks nobody for approval",
        },
    ),
    Operation(
        "file",
        "GET",
        "/sessions/{session_id}/files/{file_id}",
        "Return an attached file",
        "The file",
        "*/*",
        refusals={404: "There is no such file"},
    ),
    Operation(
        "open",
        "GET",
        "/sessions/{session_id}",
        "Open a session",
        "The session, with a page of its messages",
        query={"limit": _LIMIT, "before": _TEXT},
        headers={"If-None-Match": _TEXT},
        refusals={304: "It has not changed", **_UNKNOWN_SESSION},
    ),
    Operation(
        "change",
        "PATCH",
        "/sessions/{session_id}",
        "Change a session's title, or select a branch",
        "The session",
        body=_object((), title={"anyOf": [_TITLE, {"type": "null"}]}, activeLeafId=_TEXT),
        headers={"If-Match": _TEXT},
        refusals={409: "A reply is under way", 412: "It has changed meanwhile", **_UNKNOWN_SESSION},
    ),
    Operation(
        "delete",
        "DELETE",
        "/sessions/{session_id}",
        "Delete a session",
        "It is deleted, or there is none",
        None,
        status=204,
    ),
)
