"""What a type checker must accept and refuse; ``test_types.py`` runs mypy on this file."""

from __future__ import annotations

from typing import assert_type

from aibind.streams import StreamEnd, StreamPage, StreamStatus, TerminalState

StreamEnd("done")
StreamEnd("stopped")
StreamEnd("error", "message")
StreamEnd("active")  # type: ignore[arg-type]
StreamEnd("finished")  # type: ignore[arg-type]


def read(status: StreamStatus, page: StreamPage) -> None:
    assert_type(status.end, StreamEnd | None)
    assert_type(page.end, StreamEnd | None)
    if status.end is not None:
        assert_type(status.end.state, TerminalState)
    StreamEnd(status.state)  # type: ignore[arg-type]
