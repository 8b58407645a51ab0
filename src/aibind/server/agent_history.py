"""Stored conversations as AG-UI's clients have them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

from .._json import is_list, is_object
from ..conversations.files import FileReference
from ..history import ChatHistory
from ..protocols.ui_parts import is_run_by_page
from .contents import texts_of
from .exchanges import is_approval, nodes_of, requests_in
from .reply_events import json_or_text

__all__ = ["agent_messages", "page_calls"]


def agent_messages(chat: ChatHistory, files: str, *, without: str | None) -> list[dict[str, Any]]:
    """Return the messages of the current path, but for the answer of one stream.

    ``files`` is the path that the ids of their files are below.
    """
    found: list[dict[str, Any]] = []
    for node in nodes_of(chat):
        message, own_id = node.message, node.metadata.get("messageId")
        role = message.get("role")
        if role not in ("user", "assistant", "system", "tool") or is_approval(message):
            continue
        if without is not None and role != "user" and node.metadata.get("streamId") == without:
            continue
        shown: dict[str, Any] = {"id": own_id if isinstance(own_id, str) else node.id, "role": role}
        shown["content"] = _content(message.get("content"), files)
        if role == "tool":
            shown |= {"toolCallId": str(message.get("tool_call_id", "")), "content": _result(shown["content"])}
        calls = message.get("tool_calls")
        if role == "assistant" and is_list(calls) and calls:
            shown["toolCalls"] = calls
            if not shown["content"]:
                del shown["content"]
        found.append(shown)
    return found


def page_calls(chat: ChatHistory, call_ids: Collection[str]) -> frozenset[str] | None:
    """Return the newest calls that the page was asked to run and that are among these; None when there are none."""
    for node in reversed(nodes_of(chat)):
        asked = (str(request.get("id")) for request in requests_in(node) if is_run_by_page(request))
        found = frozenset(asked).intersection(call_ids)
        if found:
            return found
    return None


def _content(content: Any, files: str) -> Any:
    """Return the content of a message: its text, or a list of parts where there are files."""
    parts = [part for part in content if is_object(part)] if is_list(content) else []
    if all(part.get("type") == "text" for part in parts):
        return "\n".join(texts_of(content))
    return [shown for part in parts if (shown := _part(part, files)) is not None]


def _part(part: Mapping[str, Any], files: str) -> dict[str, Any] | None:
    reference = FileReference.from_part(part)
    if reference is not None:
        kind = reference.mime_type.partition("/")[0]
        source = {"type": "url", "value": f"{files}/{quote(reference.sha256)}", "mimeType": reference.mime_type}
        return {"type": kind if kind in ("image", "audio", "video") else "document", "source": source}
    if part.get("type") == "text":
        return {"type": "text", "text": str(part.get("text", ""))}
    image = part.get("image_url")
    if not is_object(image):
        return None
    return {"type": "image", "source": {"type": "url", "value": str(image.get("url", ""))}}


def _result(text: str) -> str:
    """Return a result as its run told it: text as it is, and other values as JSON."""
    value = json_or_text(text)
    return value if isinstance(value, str) else text
