"""Requests of AG-UI's clients: of the client's copy of the messages, the last one counts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._json import is_list, is_object
from ..errors import RequestError
from .requests import check_id

__all__ = ["RunRequest", "thread_of"]

_FORWARDED = ("model", "system", "toolset", "maxSteps", "onBusy")
"""The fields of the endpoint ``stream`` that a page may set, in ``forwardedProps``."""

_RUNS = uuid.UUID("a3a8c4de-6a0b-4f0e-8f7e-0d8b8d6a1c55")
"""The namespace of the ids of runs."""


def thread_of(body: object) -> str:
    """Return the id of the thread, which is a session. Raises RequestError."""
    thread_id = body.get("threadId") if is_object(body) else None
    if not isinstance(thread_id, str) or not thread_id:
        raise RequestError("threadId is required: the id of the conversation")
    return check_id("threadId", thread_id)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A request to run: a user's message, or answers to what the run before waits for.

    ``approvals`` are those answers by the ids of their calls, as the endpoint of approvals takes them.
    """

    thread_id: str
    run_id: str
    message_id: str = ""
    prompt: str = ""
    attachments: tuple[Mapping[str, Any], ...] = ()
    approvals: Mapping[str, Any] = field(default_factory=dict[str, Any])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def request_id(self) -> str:
        """The id of the request: a run that is sent twice is run once. Clients number the runs of each thread."""
        return str(uuid.uuid5(_RUNS, json.dumps([self.thread_id, self.run_id])))

    @classmethod
    def parse(cls, body: object) -> RunRequest:
        """Return a checked request. Raises RequestError."""
        thread_id = thread_of(body)
        assert is_object(body)
        run_id = body.get("runId")
        if not isinstance(run_id, str) or not run_id:
            raise RequestError("runId is required: an id for this run")
        run_id = check_id("runId", run_id)
        resume = body.get("resume")
        if is_list(resume) and resume:
            return cls(thread_id, run_id, approvals=dict(_approval(entry) for entry in resume))
        messages = body.get("messages")
        message = messages[-1] if is_list(messages) and messages else None
        if not is_object(message) or message.get("role") != "user":
            raise RequestError("The last message must be the user's: this server runs no tools on the page")
        message_id = message.get("id")
        if not isinstance(message_id, str) or not message_id:
            raise RequestError("The last message needs an id")
        prompt, attachments = _content(message.get("content"))
        forwarded = body.get("forwardedProps")
        options = forwarded if is_object(forwarded) else {}
        return cls(
            thread_id,
            run_id,
            check_id("The id of the last message", message_id),
            prompt,
            attachments,
            options={name: options[name] for name in _FORWARDED if options.get(name) is not None},
        )


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
