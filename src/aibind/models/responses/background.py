"""Background responses: answers that a provider goes on with while nobody is connected, and that are read again."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from ..._logging import log_fields
from ..._time import sleep, timeout
from ...errors import ModelError, ModelTimeoutError
from ..endpoint.reply import cut_off
from ..endpoint.waits import wait_s
from ..model import ModelEvent
from ..resuming import Repetition, join_text, not_resumable
from .reply import ResponsesReply

__all__ = [
    "BACKGROUND_FIELDS",
    "BackgroundAnswer",
    "BackgroundEndpoint",
    "BackgroundReader",
    "cancel_response",
    "check_background",
]

BACKGROUND_FIELDS: Mapping[str, Any] = {"background": True, "store": True, "stream": True}
"""The fields of a request for a background response; a response that is not stored cannot be read again."""

MAX_ATTEMPTS = 8
"""The number of connections in a row that may bring nothing new before a response is given up."""

_MAX_WAIT_S = 20.0
"""Seconds between two of these attempts at most."""

_MIN_POLL_S = 0.05
"""Seconds between two looks at a response that can be read in one piece alone, at least."""

_CANCEL_S = 10.0
"""Seconds that cancelling a response may take, its attempts together."""

_CANCEL_ATTEMPTS = 3

_MAX_PIECES = 512
"""The number of pieces of text that are kept before they are joined."""

_GONE = 404
_NOT_STREAMED = frozenset({400, 405, 409, 410, 422})
"""The statuses for a response that exists and is not streamed: OpenAI streams one for five minutes after it began."""

logger = logging.getLogger("aibind")


class BackgroundAnswer(Protocol):
    """The body of one answer of a Responses endpoint."""

    def read(self, reply: ResponsesReply) -> AsyncGenerator[ModelEvent]:
        """Yield the events of the body as ``reply`` reads them. Raises ModelError for a connection that broke."""
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


class BackgroundEndpoint(Protocol):
    """The requests of one answer, over an HTTP client.

    Each returns when an answer has begun, and raises ModelError for a refusal, with its ``status``, and for a failure
    to connect, which is ``retryable``.
    """

    async def create(self) -> BackgroundAnswer:
        """Ask for a streamed background response; never twice when it may have been begun."""
        ...

    async def retrieve(self, response_id: str, after: int | None, *, streamed: bool) -> BackgroundAnswer:
        """Ask for a response: the events after a sequence number (None: all), or without ``streamed`` in one piece."""
        ...


class BackgroundReader:
    """Reads one background response, over as many connections as it takes, to its end.

    ``make_reply`` returns a reply that has read nothing. A connection that breaks is followed by another one, which
    goes on after the last event; ``MAX_ATTEMPTS`` in a row that bring nothing new are the end, with the last error.
    ``backoff_s`` is the wait before the second attempt, in seconds; it doubles.
    """

    def __init__(
        self, endpoint: BackgroundEndpoint, make_reply: Callable[[], ResponsesReply], backoff_s: float
    ) -> None:
        self._endpoint = endpoint
        self._make_reply = make_reply
        self._backoff_s = backoff_s
        self._attempts = 0
        self._known: list[ModelEvent] = []
        self._joined = 0
        self._repetition: Repetition | None = None

    async def begin(self) -> AsyncGenerator[ModelEvent]:
        """Yield a new response, with its :class:`ReplyReference` first."""
        reply = self._make_reply()
        async with aclosing(self._follow(await self._endpoint.create(), reply)) as events:
            async for event in events:
                self._note(event)
                yield event

    async def resume(self, response_id: str, so_far: Sequence[ModelEvent]) -> AsyncGenerator[ModelEvent]:
        """Yield what comes after ``so_far`` in a response that exists.

        It is read from its start, since what is stored of it may be less than what its reader had received. Raises
        ModelError with the code ``not_resumable`` when the provider does not have it.
        """
        self._known = list(so_far)
        reply = self._repeat(response_id)
        answer = await self._reopen(reply, cut_off())
        async with aclosing(self._follow(answer, reply)) as events:
            async for event in events:
                self._note(event)
                yield event

    async def _follow(self, answer: BackgroundAnswer | None, reply: ResponsesReply) -> AsyncGenerator[ModelEvent]:
        """Yield the events of a response from an answer on, None to look at it until it has ended."""
        while answer is not None:
            seen = reply.sequence_number
            failure = cut_off()
            try:
                async with aclosing(answer), aclosing(self._read(answer, reply)) as events:
                    async for event in events:
                        yield event
                if reply.finished:
                    return
            except ModelError as error:
                if reply.finished or not _is_lost(error):
                    raise
                failure = error
            if reply.response_id is None:  # it may go on, but nobody knows its name
                raise failure
            if reply.done:  # it came in one piece, and has not ended
                break
            if reply.sequence_number is None:
                reply = self._repeat(reply.response_id)
            elif reply.sequence_number != seen:
                self._attempts = 0
            answer = await self._reopen(reply, failure)
        assert reply.response_id is not None
        async with aclosing(self._poll(reply.response_id)) as events:
            async for event in events:
                yield event

    async def _reopen(self, reply: ResponsesReply, failure: ModelError) -> BackgroundAnswer | None:
        """Return the rest of a response as a stream, None when it is not streamed. Raises ``failure`` in the end."""
        assert reply.response_id is not None
        while True:
            await self._wait(failure)
            try:
                return await self._endpoint.retrieve(reply.response_id, reply.sequence_number, streamed=True)
            except ModelError as error:
                if error.status in _NOT_STREAMED:
                    return None
                failure = _checked(error)

    async def _poll(self, response_id: str) -> AsyncGenerator[ModelEvent]:
        """Look at a response until it has ended, and yield the rest of it."""
        while True:
            reply = self._repeat(response_id)
            try:
                answer = await self._endpoint.retrieve(response_id, None, streamed=False)
                async with aclosing(answer), aclosing(self._read(answer, reply)) as events:
                    async for event in events:
                        yield event
                if reply.finished:
                    return
            except ModelError as error:
                if reply.finished:
                    raise
                await self._wait(error if _is_lost(error) else _checked(error))
                continue
            self._attempts = 0
            await sleep(max(2 * self._backoff_s, _MIN_POLL_S))

    async def _read(self, answer: BackgroundAnswer, reply: ResponsesReply) -> AsyncGenerator[ModelEvent]:
        """Yield what is new in an answer, with the last events of a response that ends in it.

        Raises ModelError for a response that is of no use, as well.
        """
        async with aclosing(answer.read(reply)) as events:
            async for event in events:
                for new in self._new(event):
                    yield new
        if not reply.finished:
            return
        for event in reply.end():
            for new in self._new(event):
                yield new
        if self._repetition is not None:
            for new in self._repetition.end():
                yield new
        if reply.failure is not None:
            raise reply.failure

    async def _wait(self, failure: ModelError) -> None:
        if self._attempts >= MAX_ATTEMPTS:
            raise failure
        if self._attempts:
            await sleep(wait_s(self._backoff_s, self._attempts - 1, _MAX_WAIT_S))
        self._attempts += 1

    def _repeat(self, response_id: str) -> ResponsesReply:
        """Return a reply that reads a response from its start, of which what is known is dropped."""
        reply = self._make_reply()
        reply.response_id = response_id
        self._repetition = Repetition(self._known)
        return reply

    def _new(self, event: ModelEvent) -> Iterable[ModelEvent]:
        return (event,) if self._repetition is None else self._repetition.drop(event)

    def _note(self, event: ModelEvent) -> None:
        """Keep an event, in case the response has to be read again from its start."""
        self._known.append(event)
        if len(self._known) >= self._joined + _MAX_PIECES:
            self._known = join_text(self._known)
            self._joined = len(self._known)


def check_background(api: str, fields: Mapping[str, Any], *, background: bool, where: str) -> None:
    """Raise ValueError for an API that has no background responses, and for fields that contradict them."""
    if background and api != "responses":
        raise ValueError("background is for the Responses format: give api='responses' as well")
    if background and fields.keys() & BACKGROUND_FIELDS.keys():
        raise ValueError(f"{where} sets background, store or stream: leave them out, since background does")


async def cancel_response(cancel: Callable[[], Awaitable[None]], backoff_s: float) -> None:
    """Cancel a response, in three attempts at most, within 10 s. Log a failure rather than raise it."""
    try:
        async with timeout(_CANCEL_S):
            for attempt in range(_CANCEL_ATTEMPTS):
                try:
                    await cancel()
                    return
                except ModelError as error:
                    if not (error.retryable or _is_lost(error)) or attempt == _CANCEL_ATTEMPTS - 1:
                        raise
                await sleep(wait_s(backoff_s, attempt))
    except Exception as error:
        logger.warning(
            "A response could not be cancelled at the model's endpoint, which may go on with it",
            exc_info=error,
            extra=log_fields("model.not_cancelled"),
        )


def _is_lost(error: ModelError) -> bool:
    """Return whether an error is about the connection, and says nothing of the response."""
    return isinstance(error, ModelTimeoutError) or error.code in ("cut_off", "connection")


def _checked(error: ModelError) -> ModelError:
    """Return an error after which a response may be asked for again. Raises ModelError for any other."""
    if error.status == _GONE:
        raise not_resumable("the model's endpoint does not have the response any more") from error
    if not error.retryable:
        raise error
    return error
