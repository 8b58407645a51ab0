"""Replies that are produced while they are read, and end with their response."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import AbstractContextManager

from .._closing import close_iterator
from .._logging import log_fields
from ..errors import AibindError
from ..streams.normalize import normalized
from ..streams.response import Body, HttpResponse
from ..streams.source import message_for_readers
from ..streams.sse import HEADERS, encode_message
from ..streams.sse_body import encode_end
from ..streams.store import StreamEnd
from .generation import Generation
from .load import Load, counted
from .turns import Turn

__all__ = ["start_plain_reply"]

logger = logging.getLogger("aibind")


async def start_plain_reply(
    generation: Generation,
    turn: Turn | None,
    under_way: AbstractContextManager[None],
    load: Load,
    *,
    owner: str | None,
    events: Collection[str] | None = None,
) -> HttpResponse[Body]:
    """Store a turn's question, and return the response that produces the reply while it is read, ``under_way``.

    It has the named ``events`` (None: all).
    """
    following = load.follow(owner)
    try:
        slot = load.start(owner)
    except BaseException:
        following.release()
        raise
    try:
        if turn is not None:
            await turn.save_question()
    except BaseException:
        slot.release()
        following.release()
        raise
    body = _plain_body(generation, turn, under_way, None if events is None else frozenset(events))
    return HttpResponse(200, HEADERS, counted(body, slot, following))


async def _plain_body(
    generation: Generation,
    turn: Turn | None,
    under_way: AbstractContextManager[None],
    sent: frozenset[str] | None,
) -> AsyncGenerator[bytes]:
    """Yield a reply that cannot be resumed: text is numbered from 0, and other events have no id."""
    with under_way:
        number = 0
        end = StreamEnd("stopped")  # unless the reply gets to its end, the client has gone
        events = generation.stream()
        try:
            async for event in normalized(events):
                if generation.record(event) and turn is not None:
                    turn.save_rounds(generation.answer)
                if event.event:
                    if sent is None or event.event in sent:
                        yield encode_message(event.data, event=event.event)
                else:
                    yield encode_message(event.data, id=number)
                    number += 1
            end = StreamEnd("done")
        except AibindError as error:
            end = StreamEnd("error", message_for_readers(error))
        finally:
            await close_iterator(events)
            if turn is not None:
                try:
                    await turn.finish(generation.answer, end)
                except Exception:
                    logger.exception(
                        "The answer to a turn could not be stored",
                        extra=log_fields("turn.answer_not_stored", session_id=turn.session_id),
                    )  # its reader has it nevertheless
        yield encode_end(end)
