"""UI messages as the AI SDK keeps them: what its client makes of the chunks of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..streams.events import StreamEvent
from .ui_chunks import ChunkWriter, Place

__all__ = ["ui_parts"]


def ui_parts(events: Iterable[StreamEvent], typed_tools: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Return the parts of the UI message that the events of an answer are shown as."""
    writer = ChunkWriter(Place(), typed_tools)
    for event in events:
        writer.add(event)
    writer.close_step()
    parts: list[dict[str, Any]] = []
    for chunk in writer.chunks:
        _take(parts, chunk)
    return parts


def _take(parts: list[dict[str, Any]], chunk: Mapping[str, Any]) -> None:
    name: str = chunk["type"]
    fields = {field: value for field, value in chunk.items() if field != "type"}
    if name == "start-step":
        parts.append({"type": "step-start"})
    elif name == "text-start":
        parts.append({"type": "text", "text": "", "state": "done"})
    elif name == "reasoning-start":
        parts.append({"type": "reasoning", "id": chunk["id"], "text": "", "state": "done"})
    elif name in ("text-delta", "reasoning-delta"):
        _last(parts, "type", name.partition("-")[0])["text"] += chunk["delta"]
    elif name == "tool-input-available":
        parts.append(_tool(fields))
    elif name in ("tool-output-available", "tool-output-error"):
        part = _last(parts, "toolCallId", chunk["toolCallId"])
        part |= {"state": name.removeprefix("tool-"), "providerExecuted": True}
        part |= {field: fields[field] for field in ("output", "errorText") if field in fields}
    elif name == "tool-approval-request":
        part = _last(parts, "toolCallId", chunk["toolCallId"])
        part |= {"state": "approval-requested", "approval": {"id": chunk["approvalId"]}}
    elif name == "tool-output-denied":
        part = _last(parts, "toolCallId", chunk["toolCallId"])
        part |= {"state": "output-denied", "approval": {"id": chunk["toolCallId"], "approved": False}}
    elif name.startswith("data-") and "id" in fields and (known := _find(parts, name, fields["id"])) is not None:
        known["data"] = fields["data"]
    elif name in ("source-url", "source-document", "file") or name.startswith("data-"):
        parts.append({"type": name, **fields})


def _tool(fields: Mapping[str, Any]) -> dict[str, Any]:
    about = {"toolCallId": fields["toolCallId"], "state": "input-available", "input": fields["input"]}
    if fields.get("dynamic"):
        return {"type": "dynamic-tool", "toolName": fields["toolName"], **about}
    return {"type": f"tool-{fields['toolName']}", **about}


def _find(parts: list[dict[str, Any]], name: str, part_id: object) -> dict[str, Any] | None:
    return next((part for part in parts if part["type"] == name and part.get("id") == part_id), None)


def _last(parts: list[dict[str, Any]], field: str, value: object) -> dict[str, Any]:
    return next(part for part in reversed(parts) if part.get(field) == value)
