"""Parts of a UI message that an application's events become: sources, files and data; and its finish reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._json import is_object
from ..streams.store import StreamEnd

__all__ = ["finish_reason", "is_run_by_page", "part_of"]

_REASONS = frozenset({"stop", "length", "content-filter", "tool-calls", "error", "other"})
"""The reasons that every version accepts: any other fails the whole stream."""

_SOURCES = frozenset({"source", "citation", "annotation"})

_STRUCTURED = frozenset({"partial", "data"})


def finish_reason(end: StreamEnd, given: str | None, *, waits_for_results: bool) -> str:
    """Return the reason of a ``finish`` chunk, from how the stream ended and from the model's reason."""
    if end.state != "done":
        return "error" if end.state == "error" else "other"
    if given == "waiting":  # for approvals, or for tools of the page
        return "tool-calls"
    if given is None:
        return "tool-calls" if waits_for_results else "stop"
    reason = given.replace("_", "-")
    return reason if reason in _REASONS else "other"


def is_run_by_page(request: Mapping[str, Any]) -> bool:
    """Return whether a call that waits is run by the page, and is not to be allowed by a user."""
    details = request.get("details")
    return is_object(details) and details.get("runs") == "page"


def part_of(name: str, value: Any) -> dict[str, Any]:
    """Return the chunk of an application's event."""
    if name in _STRUCTURED:
        return {"type": "data-object", "id": "object", "data": value}  # each takes the place of the one before
    if is_object(value):
        found = _source(value) if name in _SOURCES else _file(value) if name == "file" else None
        if found is not None:
            return found
        if isinstance(value.get("id"), str):
            return {"type": f"data-{name}", "id": value["id"], "data": value}
    return {"type": f"data-{name}", "data": value}


def _source(value: Mapping[str, Any]) -> dict[str, Any] | None:
    nested = value.get("url_citation")  # as chat completions has it
    about: Mapping[str, Any] = nested if is_object(nested) else value
    url, title, media_type = about.get("url"), about.get("title"), about.get("mediaType")
    source_id = about.get("id")
    if isinstance(url, str):
        chunk = {"type": "source-url", "sourceId": source_id if isinstance(source_id, str) else url, "url": url}
        return {**chunk, "title": title} if isinstance(title, str) else chunk
    if isinstance(title, str) and isinstance(media_type, str):
        source_id = source_id if isinstance(source_id, str) else title
        chunk = {"type": "source-document", "sourceId": source_id, "mediaType": media_type, "title": title}
        filename = about.get("filename")
        return {**chunk, "filename": filename} if isinstance(filename, str) else chunk
    return None


def _file(value: Mapping[str, Any]) -> dict[str, Any] | None:
    url, media_type = value.get("url"), value.get("mediaType")
    if not isinstance(url, str) or not isinstance(media_type, str):
        return None
    return {"type": "file", "url": url, "mediaType": media_type}
