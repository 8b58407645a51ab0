"""Requests of AG-UI's clients: of the client's copy of the messages, the last one counts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._json import compact_json, is_list, is_object
from ..errors import RequestError
from .contents import texts_of
from .reply_events import json_or_text
from .requests import check_id

__all__ = ["RunRequest", "is_before_1_0", "request_id_of", "thread_of"]

_FORWARDED = ("model", "system", "toolset", "maxSteps", "onBusy")
"""The fields of the endpoint ``stream`` that a page may set, in ``forwardedProps``."""

_RUNS = uuid.UUID("a3a8c4de-6a0b-4f0e-8f7e-0d8b8d6a1c55")
"""The namespace of the ids of runs."""

_CONTEXT = "What the page tells about itself and its user:"
"""The text before the entries of a page's context in the system prompt."""


def thread_of(body: object) -> str:
    """Return the id of the thread, which is a session. Raises RequestError."""
    thread_id = body.get("threadId") if is_object(body) else None
    if not isinstance(thread_id, str) or not thread_id:
        raise RequestError("threadId is required: the id of the conversation")
    return check_id("threadId", thread_id)


def is_before_1_0(body: object) -> bool:
    """Return whether a client is from before AG-UI 1.0, which is the first version that clients name."""
    return not (is_object(body) and isinstance(body.get("protocolVersion"), str))


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A request to run: a user's message, or answers to what the run before waits for.

    ``approvals`` are those answers by the ids of their calls, as the endpoint of approvals takes them, and ``results``
    what tools of the page returned since the last question, in the same form. ``system`` is the context that the page
    tells, as text.
    """

    thread_id: str
    run_id: str
    message_id: str = ""
    prompt: str = ""
    attachments: tuple[Mapping[str, Any], ...] = ()
    approvals: Mapping[str, Any] = field(default_factory=dict[str, Any])
    results: Mapping[str, Any] = field(default_factory=dict[str, Any])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: tuple[Mapping[str, Any], ...] = ()
    system: str = ""
    before_1_0: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether it goes on with a run instead of asking a question."""
        return bool(self.approvals or self.results)

    @property
    def request_id(self) -> str:
        """The id of the request: a run that is sent twice is run once. Clients number the runs of each thread."""
        return request_id_of(self.thread_id, self.run_id)

    @classmethod
    def parse(cls, body: object) -> RunRequest:
        """Return a checked request. Raises RequestError."""
        thread_id = thread_of(body)
        assert is_object(body)
        run_id = body.get("runId")
        if not isinstance(run_id, str) or not run_id:
            raise RequestError("runId is required: an id for this run")
        run_id = check_id("runId", run_id)
        version = is_before_1_0(body)
        resume, messages = body.get("resume"), body.get("messages")
        last = messages[-1] if is_list(messages) and messages else None
        is_question = is_object(last) and last.get("role") == "user"
        results = {} if is_question or not is_list(messages) else dict(_results(messages))
        if is_list(resume) and resume:
            approvals = dict(_approval(entry) for entry in resume)
            return cls(thread_id, run_id, approvals=approvals, results=results, before_1_0=version)
        if results:
            return cls(thread_id, run_id, results=results, before_1_0=version)
        if not is_question or not is_object(last):
            raise RequestError("The last message must be the user's, or the result of a tool that the page has run")
        message_id = last.get("id")
        if not isinstance(message_id, str) or not message_id:
            raise RequestError("The last message needs an id")
        prompt, attachments = _content(last.get("content"))
        forwarded = body.get("forwardedProps")
        options = forwarded if is_object(forwarded) else {}
        return cls(
            thread_id,
            run_id,
            check_id("The id of the last message", message_id),
            prompt,
            attachments,
            options={name: options[name] for name in _FORWARDED if options.get(name) is not None},
            tools=_tools(body.get("tools")),
            system=_context(body.get("context")),
            before_1_0=version,
        )


def request_id_of(thread_id: str, run_id: str) -> str:
    """Return the id of the request that begins a run."""
    return str(uuid.uuid5(_RUNS, json.dumps([thread_id, run_id])))


def _results(messages: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the results of calls after the last question, each as an answer to its call."""
    for message in reversed(messages):
        if not is_object(message) or message.get("role") == "user":
            return
        call_id = message.get("toolCallId")
        if message.get("role") != "tool" or not isinstance(call_id, str):
            continue
        content, error = message.get("content"), message.get("error")
        result = "\n".join(texts_of(content))
        yield call_id, {"result": {"error": error} if isinstance(error, str) and error else json_or_text(result)}


def _tools(tools: object) -> tuple[Mapping[str, Any], ...]:
    if not is_list(tools):
        return ()
    names = ("name", "description", "parameters")
    return tuple(
        {name: tool[name] for name in names if tool.get(name) is not None} for tool in filter(is_object, tools)
    )


def _context(entries: object) -> str:
    """Return what the page tells of itself, as the text of a system prompt."""
    if not is_list(entries):
        return ""
    told = [f"{entry.get('description')}: {_text(entry.get('value'))}" for entry in filter(is_object, entries)]
    return "\n".join([_CONTEXT, *told]) if told else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else compact_json(value)


def _approval(entry: object) -> tuple[str, Any]:
    if not is_object(entry) or not isinstance(entry.get("interruptId"), str):
        raise RequestError("Each entry of resume needs an interruptId")
    payload: Any = entry.get("payload")
    if entry.get("status") == "cancelled":
        return entry["interruptId"], False
    return entry["interruptId"], True if payload is None else payload


def _content(content: object) -> tuple[str, tuple[Mapping[str, Any], ...]]:
    if isinstance(content, str):
        return content, ()
    if not is_list(content):
        raise RequestError("The content of the last message must be text or a list of parts")
    texts: list[str] = []
    files: list[Mapping[str, Any]] = []
    for part in content:
        if not is_object(part):
            raise RequestError("A part of the last message is not an object")
        source = part.get("source")
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif is_object(source):
            place = "data" if source.get("type") == "data" else "url"
            files.append({"mimeType": source.get("mimeType"), place: source.get("value")})
        else:
            raise RequestError("A part of the last message is neither text nor a file with a source")
    return "\n".join(texts), tuple(files)
