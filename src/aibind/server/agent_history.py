"""Stored conversations as AG-UI's clients have them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from .._json import is_list
from ..history import ChatHistory
from ..protocols.ui_parts import is_run_by_page
from .contents import texts_of
from .exchanges import is_approval, nodes_of, requests_in
from .reply_events import json_or_text

__all__ = ["agent_messages", "page_calls"]


def agent_messages(chat: ChatHistory, *, without: str | None) -> list[dict[str, Any]]:
    """Return the messages of the current path, but for the answer of one stream."""
    found: list[dict[str, Any]] = []
    for node in nodes_of(chat):
        message, own_id = node.message, node.metadata.get("messageId")
        role = message.get("role")
        if role not in ("user", "assistant", "system", "tool") or is_approval(message):
            continue
        if without is not None and role != "user" and node.metadata.get("streamId") == without:
            continue
        shown: dict[str, Any] = {"id": own_id if isinstance(own_id, str) else node.id, "role": role}
        shown["content"] = "\n".join(texts_of(message.get("content")))
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


def _result(text: str) -> str:
    """Return a result as its run told it: text as it is, and other values as JSON."""
    value = json_or_text(text)
    return value if isinstance(value, str) else text
