"""The models of a handler: checked when it is made, chosen by key or by a function, and asked."""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from typing import Any, cast

from .._closing import close_iterator
from .._kinds import kind_of
from ..errors import ModelError, RequestError
from ..models.model import (
    ApprovalRequest,
    ChooseModel,
    CustomEvent,
    Finish,
    MessageData,
    Model,
    ModelEvent,
    ModelFunction,
    ModelRequest,
    ReasoningDelta,
    ReplyReference,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from ..models.resuming import can_resume, not_resumable

__all__ = ["Models", "ask_model", "resume_model"]

_EXPECTED = (
    "give an object with stream(request), such as EchoModel(), or a function that returns an async iterator, "
    "such as an async generator function"
)

_EVENTS = (
    *(TextDelta, ReasoningDelta, ToolCallDelta, ToolCall, ApprovalRequest),
    *(ToolResult, CustomEvent, MessageData, ReplyReference, Finish, Usage),
)
_MAX_REFERENCES = 10_000
"""The number of answers whose model is remembered, for cancelling them."""

_EVENT_NAMES = ", ".join(kind.__name__ for kind in _EVENTS[:-1]) + f" or {_EVENTS[-1].__name__}"


class Models:
    """The models that a request may choose from: a single one, or several by key, the first being the default.

    ``choose`` is asked for each request in place of that. A function that it returns, or that is given for a model, is
    one.

    Raises ValueError unless exactly one of ``model``, and ``models`` or ``choose``, is given, and TypeError for a value
    that is not a model, or cannot be called.
    """

    def __init__(
        self,
        model: Model | ModelFunction | None,
        models: Mapping[str, Model | ModelFunction] | None,
        choose: ChooseModel | None = None,
    ) -> None:
        if (model is None) == (not models and choose is None):
            raise ValueError("Give the handler either a model or models: choose_model stands alone or goes with models")
        if models and not isinstance(models, Mapping):
            raise TypeError(f'models is {kind_of(models)}: give a mapping, such as {{"fast": EchoModel()}}')
        if choose is not None and not callable(choose):
            raise TypeError(f"choose_model is {kind_of(choose)}: give a function from a request to a model or its key")
        self._by_key = {key: _to_model(f'models["{key}"]', value) for key, value in (models or {}).items()}
        self._default: Model | None = next(iter(self._by_key.values()), None)
        if model is not None:
            self._default = _to_model("model", model)
        elif choose is not None:
            self._default = _ChosenModel(self._by_key, choose)
        self._chooses = choose is not None

    def __repr__(self) -> str:
        return f"Models({self._by_key or self._default!r})"

    @property
    def can_resume(self) -> bool:
        """Whether any of the models can go on with an answer that another process began."""
        return any(map(can_resume, (self._default, *self._by_key.values())))

    def pick(self, key: str | None) -> Model:
        """Return the model of a key; the default for None, and for any key when there is a single model."""
        assert self._default is not None
        if key is None or not self._by_key:
            return self._default
        if key not in self._by_key:
            raise RequestError(f'Unknown model key: "{key}"')
        return self._default if self._chooses else self._by_key[key]


class _FunctionModel:
    """A function from a request to an async iterator as a model."""

    def __init__(self, function: ModelFunction) -> None:
        self.function = function

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent | str]:
        """Call the function."""
        return self.function(request)

    def __repr__(self) -> str:
        return f"<model function {_name_of(self)}>"


class _ChosenModel:
    """The model that a function chooses for each request."""

    def __init__(self, by_key: Mapping[str, Model], choose: ChooseModel) -> None:
        self._by_key = by_key
        self._choose = choose
        self._by_reference: OrderedDict[str, Model] = OrderedDict()

    def __repr__(self) -> str:
        return f"<model of {getattr(self._choose, '__qualname__', type(self._choose).__name__)}>"

    @property
    def resumable(self) -> bool:
        """Whether a model that can go on with an answer may be chosen; without keys any model may be."""
        return not self._by_key or any(map(can_resume, self._by_key.values()))

    @property
    def repeats_exactly(self) -> bool:
        """Whether every resumable model repeats an answer exactly. Others that are chosen are not resumed then."""
        return all(model.repeats_exactly for model in self._by_key.values() if can_resume(model))

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Ask the model that is chosen for ``request``."""
        model = await self.choose(request)
        events = ask_model(model, request)
        try:
            async for event in events:
                if isinstance(event, ReplyReference):
                    self._remember(event.value, model)
                yield event
        finally:
            await close_iterator(events)

    async def resume(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncGenerator[ModelEvent]:
        """Go on with an answer, by the model that is chosen for ``request``."""
        model = await self.choose(request)
        if not can_resume(model):
            raise not_resumable("the model that choose_model returned cannot go on with an answer")
        if self.repeats_exactly and not model.repeats_exactly:  # its readers may know more than is stored
            raise not_resumable("the model that choose_model returned would go on with other words; name it in models")
        if reference is not None:
            self._remember(reference, model)
        events = resume_model(model, request, so_far, reference)
        try:
            async for event in events:
                if isinstance(event, ReplyReference):
                    self._remember(event.value, model)
                yield event
        finally:
            await close_iterator(events)

    async def cancel(self, reference: str) -> None:
        """End an answer that this process has begun or continued, by the model that was chosen for it."""
        model = self._by_reference.get(reference)
        if can_resume(model):
            await model.cancel(reference)

    async def choose(self, request: ModelRequest) -> Model:
        """Return the model that is chosen for ``request``."""
        chosen: object = self._choose(request)
        if inspect.isawaitable(chosen):
            chosen = await chosen
        if not isinstance(chosen, str):
            return _to_model("The result of choose_model", chosen)
        if chosen not in self._by_key:
            raise ModelError(f'Unknown model key: "{chosen}"')
        return self._by_key[chosen]

    def _remember(self, reference: str, model: Model) -> None:
        self._by_reference[reference] = model
        while len(self._by_reference) > _MAX_REFERENCES:
            self._by_reference.popitem(last=False)


def ask_model(model: Model, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
    """Yield a model's events, with each string that it yields as a TextDelta, and close its answer at the end.

    Raises TypeError, which names the type, when the model does not answer with an async iterator of events or strings.
    """
    return _read(lambda: model.stream(request), _name_of(model))


def resume_model(
    model: Model, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
) -> AsyncGenerator[ModelEvent]:
    """Yield what comes after ``so_far`` in a model's answer, as :func:`ask_model` does.

    Raises ModelError with the code ``not_resumable`` when the model cannot go on with it.
    """

    def answer() -> object:
        if not can_resume(model):
            raise not_resumable("its model cannot go on with an answer")
        return model.resume(request, so_far, reference)

    return _read(answer, f"{type(model).__name__}.resume")


async def _read(begin: Callable[[], object], name: str) -> AsyncGenerator[ModelEvent]:
    answer = begin()
    if not isinstance(answer, AsyncIterable):
        if inspect.iscoroutine(answer):
            answer.close()  # else Python warns that it was never awaited
        raise TypeError(
            f"{name} returned {type(answer).__name__}, not an async iterator: "
            "write it as an async generator, which is async def with yield"
        )
    events = aiter(cast("AsyncIterable[object]", answer))
    try:
        async for event in events:
            if isinstance(event, str):
                yield TextDelta(event)
            elif isinstance(event, _EVENTS):
                yield event
            else:
                raise TypeError(f"{name} yielded {type(event).__qualname__}: yield str, {_EVENT_NAMES}")
    finally:
        await close_iterator(events)


def _name_of(model: Model) -> str:
    if not isinstance(model, _FunctionModel):
        return f"{type(model).__name__}.stream"
    function: Any = model.function
    while isinstance(function, functools.partial):
        function = function.func  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return str(getattr(function, "__name__", type(function).__name__))


def _gives_no_iterator(function: object) -> bool:
    """Return whether a function is seen, before it is called, not to return an async iterator."""
    while isinstance(function, functools.partial):
        function = function.func  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    candidates = (function, getattr(function, "__call__", None))  # noqa: B004 - an object that can be called has one
    return any(inspect.iscoroutinefunction(one) or inspect.isgeneratorfunction(one) for one in candidates)


def _to_model(name: str, value: object) -> Model:
    """Return a value as a model. Raises TypeError, which says what the value is, when it is none."""
    if not isinstance(value, type):
        if callable(getattr(value, "stream", None)):
            return cast("Model", value)
        if callable(value) and not _gives_no_iterator(value):
            return _FunctionModel(cast("ModelFunction", value))
    raise TypeError(f"{name} is {kind_of(value)}: {_EXPECTED}")
