"""The fields of log records, beside their text."""

from __future__ import annotations

__all__ = ["log_fields"]


def log_fields(event: str, **fields: object) -> dict[str, object]:
    """Return the ``extra`` of a log record: the name of the event, which does not change, and what it is about."""
    return {"aibind_event": event, **{f"aibind_{name}": value for name, value in fields.items()}}
