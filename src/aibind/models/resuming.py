"""Going on with an answer whose process died: the protocol of models that can, and parts for those who write one."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeGuard

from .._closing import close_iterator
from .._json import compact_json, load_json
from ..errors import ModelError
from ..streams.normalize import TextNormalizer
from .model import (
    ApprovalRequest,
    CustomEvent,
    Finish,
    MessageData,
    Model,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    ReplyReference,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)

__all__ = ["Repetition", "ResumableModel", "can_resume", "join_text", "not_resumable", "skip_repeated"]


class ResumableModel(Model, Protocol):
    """A language model that can go on with an answer which another process began.

    It has :meth:`Model.stream` as well. Closing an iterator of either method ends the connection alone, since the
    producer may be closed because another one took over; a reply that a user stops is ended by :meth:`cancel`.
    """

    @property
    def resumable(self) -> bool:
        """Whether this very model, as it is configured, can go on with an answer."""
        ...

    @property
    def repeats_exactly(self) -> bool:
        """Whether :meth:`resume` yields, to the character, what the first producer would have yielded.

        Then readers may see events before they are stored. It is false where the rest is sampled again, as after a
        prefilled message: then readers must see stored events alone.
        """
        ...

    def resume(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncIterator[ModelEvent | str]:
        """Yield what comes after ``so_far``, the events of this answer that are stored, in order.

        Neighbouring text in ``so_far`` is joined, and is as readers have it: CR LF is LF, and a lone surrogate is
        U+FFFD. ``request`` is what the answer began with, and ``reference`` the value of the last
        :class:`ReplyReference` that came with it, None when none was stored.

        The iterator raises ModelError with the code ``not_resumable`` when the answer cannot be continued, such as one
        that the provider does not have any more.
        """
        ...

    async def cancel(self, reference: str) -> None:
        """End the answer of ``reference`` at the provider, since its reader stopped it.

        It returns within seconds, and logs a failure rather than raising it. An answer that has ended is left as it is.
        """
        ...


def can_resume(model: object) -> TypeGuard[ResumableModel]:
    """Return whether a model is a :class:`ResumableModel` that is configured to go on with answers."""
    return getattr(model, "resumable", False) is True and callable(getattr(model, "resume", None))


def not_resumable(reason: str) -> ModelError:
    """Return the error of a model that cannot go on with an answer."""
    return ModelError(f"The reply cannot be continued: {reason}", code="not_resumable")


async def skip_repeated(
    events: AsyncIterable[ModelEvent | str], so_far: Sequence[ModelEvent]
) -> AsyncGenerator[ModelEvent]:
    """Yield what an answer that is repeated from its start holds after ``so_far``, and close it at the end.

    For :meth:`ResumableModel.resume` of models whose answer can be had again. Text and reasoning are compared as
    readers have them, wherever they are cut: of a piece that ``so_far`` ends in, the rest is yielded. Arguments of
    calls, results and data of events are compared as JSON. A :class:`ReplyReference` is passed on. Raises ModelError
    with the code ``not_resumable`` when the answer does not begin with ``so_far``.
    """
    repetition = Repetition(so_far)
    iterator = aiter(events)
    try:
        async for event in iterator:
            for rest in repetition.drop(event):
                yield rest
        for rest in repetition.end():
            yield rest
    finally:
        await close_iterator(iterator)


class Repetition:
    """An answer that is repeated from its start, event by event, and compared with what is known of it.

    Text, reasoning, calls and results come in the order in which they came before. Other events are dropped wherever
    they are repeated: an answer that is read in one piece, when it has ended, has them at other places.
    """

    def __init__(self, so_far: Sequence[ModelEvent]) -> None:
        in_order = (event for event in so_far if not isinstance(event, (*_OTHERS, ReplyReference)))
        self._known = [_normalised(event) for event in join_text(in_order)]
        self._others: Counter[Any] = Counter(_key_of(event) for event in so_far if isinstance(event, _OTHERS))
        self._place = 0
        self._offset = 0  # the characters of the text at this place that were repeated
        self._texts: dict[type[TextDelta | ReasoningDelta], TextNormalizer] = {
            TextDelta: TextNormalizer(),
            ReasoningDelta: TextNormalizer(),
        }

    def drop(self, event: ModelEvent | str) -> Iterator[ModelEvent]:
        """Yield what is new in the next event. Raises ModelError when the answer is another one."""
        if isinstance(event, str):
            event = TextDelta(event)
        if isinstance(event, TextDelta | ReasoningDelta):
            yield from self._drop_text(type(event), self._texts[type(event)].clean(event.text))
        elif isinstance(event, ReplyReference):
            yield event
        elif isinstance(event, _OTHERS):
            key = _key_of(event)
            if self._others[key]:
                self._others[key] -= 1
            else:
                yield event
        elif self._place == len(self._known):
            yield event
        else:
            self._pass(event)

    def end(self) -> Iterator[ModelEvent]:
        """Yield what was held back. Raises ModelError when the answer ended before all that is known was repeated."""
        for kind, normalizer in self._texts.items():
            yield from self._drop_text(kind, normalizer.flush())
        if self._place < len(self._known):
            raise not_resumable("the model's answer ended before the part of it that is stored")

    def _drop_text(self, kind: type[TextDelta | ReasoningDelta], text: str) -> Iterator[ModelEvent]:
        while text and self._place < len(self._known):
            known = self._known[self._place]
            if not isinstance(known, kind):
                raise _another()
            count = min(len(text), len(known.text) - self._offset)
            if not known.text.startswith(text[:count], self._offset):
                raise _another()
            text = text[count:]
            self._offset += count
            if self._offset == len(known.text):
                self._place, self._offset = self._place + 1, 0
        if text:
            yield kind(text)

    def _pass(self, event: ModelEvent) -> None:
        known = self._known[self._place]
        if isinstance(event, Finish) and not isinstance(known, Finish):
            if not isinstance(known, Usage):  # a reason that is not stored, before the usage
                raise _another()
            return
        if type(known) is not type(event) or _key_of(known) != _key_of(event):
            raise _another()
        self._place += 1


_OTHERS = (CustomEvent, MessageData, ToolCallDelta)


def join_text(events: Iterable[ModelEvent]) -> list[ModelEvent]:
    """Return the events with neighbouring text joined, and neighbouring reasoning, and without empty pieces."""
    joined: list[ModelEvent] = []
    pieces: list[str] = []
    kind: type[TextDelta | ReasoningDelta] | None = None
    for event in events:
        if isinstance(event, TextDelta | ReasoningDelta):
            if not event.text:
                continue
            if kind is not None and type(event) is not kind:
                joined.append(kind("".join(pieces)))
                pieces = []
            kind = type(event)
            pieces.append(event.text)
            continue
        if kind is not None:
            joined.append(kind("".join(pieces)))
            kind, pieces = None, []
        joined.append(event)
    return joined if kind is None else [*joined, kind("".join(pieces))]


def _normalised(event: ModelEvent) -> ModelEvent:
    if not isinstance(event, TextDelta | ReasoningDelta):
        return event
    normalizer = TextNormalizer()
    return type(event)(normalizer.clean(event.text) + normalizer.flush())


def _key_of(event: ModelEvent) -> Any:
    """Return what two events are compared by; JSON loses its spaces when it is stored."""
    if isinstance(event, ToolCall | ApprovalRequest):
        return event.id, event.name, _plain(event.arguments or "{}")
    if isinstance(event, ToolResult):
        return event.id, event.name, _plain(event.result)
    if isinstance(event, CustomEvent):
        return "event", event.name, compact_json(event.data)
    if isinstance(event, MessageData):
        return "data", event.key, compact_json(event.value)
    return event


def _plain(text: str) -> str:
    try:
        return compact_json(load_json(text))
    except (ValueError, RecursionError):
        return text


def _another() -> ModelError:
    return not_resumable("the model gave another answer than what is stored")
