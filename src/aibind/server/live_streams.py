"""The streams under way of a session, wherever they are produced."""

from __future__ import annotations

from ..streams.store import StreamStore
from .sessions import Session

__all__ = ["live_streams"]


async def live_streams(session: Session, streams: StreamStore | None) -> list[str]:
    """Return the ids of the streams under way, newest last, including one whose answer is being saved here."""
    found = list(await streams.live_streams(session.id)) if streams is not None else []
    saving = session.live_stream
    return found if saving is None or saving in found else [saving, *found]
