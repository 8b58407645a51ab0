"""The models of a handler: checked when it is made, chosen by key, and asked."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Mapping

from .._closing import close_iterator
from .._kinds import kind_of
from ..errors import RequestError
from ..models.model import Finish, Model, ModelEvent, ModelRequest, ReasoningDelta, TextDelta, ToolCall, Usage

__all__ = ["Models", "ask_model"]


class Models:
    """The models that a request may choose from: a single one, or several by key, the first being the default.

    Raises ValueError unless exactly one of ``model`` and ``models`` is given, and TypeError for a value that is not a
    model.
    """

    def __init__(self, model: Model | None, models: Mapping[str, Model] | None) -> None:
        if (model is None) == (not models):
            raise ValueError("Give the handler either a model or models")
        if models and not isinstance(models, Mapping):
            raise TypeError(f'models is {kind_of(models)}: give a mapping, such as {{"fast": EchoModel()}}')
        self._by_key = dict(models or {})
        for key, value in self._by_key.items():
            _check(f'models["{key}"]', value)
        if model is not None:
            _check("model", model)
        self._default = model if model is not None else next(iter(self._by_key.values()))

    def __repr__(self) -> str:
        return f"Models({self._by_key or self._default!r})"

    def pick(self, key: str | None) -> Model:
        """Return the model of a key; the default for None, and for any key when there is a single model."""
        if key is None or not self._by_key:
            return self._default
        try:
            return self._by_key[key]
        except KeyError:
            raise RequestError(f'Unknown model key: "{key}"') from None


async def ask_model(model: Model, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
    """Yield a model's events, with each string that it yields as a TextDelta, and close its answer at the end.

    Raises TypeError, which names the type, when the model does not answer with an async iterator of events or strings.
    """
    answer: object = model.stream(request)
    if not isinstance(answer, AsyncIterable):
        if inspect.iscoroutine(answer):
            answer.close()  # else Python warns that it was never awaited
        raise TypeError(
            f"{type(model).__name__}.stream returned {type(answer).__name__}, not an async iterator: "
            "write it as an async generator, which is async def with yield"
        )
    events: AsyncIterable[object] = aiter(answer)
    try:
        async for event in events:
            if isinstance(event, str):
                yield TextDelta(event)
            elif isinstance(event, TextDelta | ReasoningDelta | ToolCall | Finish | Usage):
                yield event
            else:
                raise TypeError(
                    f"{type(model).__name__}.stream yielded {type(event).__qualname__}: "
                    "yield str, TextDelta, ReasoningDelta, ToolCall, Finish or Usage"
                )
    finally:
        await close_iterator(events)


def _check(name: str, value: object) -> None:
    if isinstance(value, type) or not callable(getattr(value, "stream", None)):
        raise TypeError(f"{name} is {kind_of(value)}: give an object with stream(request), such as EchoModel()")
