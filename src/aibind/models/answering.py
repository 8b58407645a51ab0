"""Answers of models at endpoints in OpenAI's formats, over any HTTP client: begun, gone on with, and cancelled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, Protocol, TypeAlias, get_args

from .chat.prefill import Prefill, Prefilled, check_prefill
from .chat.reply import ChatReply
from .chat.request import Structured, chat_body
from .endpoint.address import EndpointAddress
from .endpoint.errors import Redactor
from .endpoint.json_reply import JsonReply
from .endpoint.reply import EndpointReply
from .model import ModelEvent, ModelRequest
from .responses.background import BACKGROUND_FIELDS, BackgroundReader, cancel_response, check_background
from .responses.reply import ResponsesReply
from .responses.request import responses_body
from .resuming import not_resumable

__all__ = ["PATHS_OF", "Answering", "EndpointAnswering", "EndpointRequests", "OpenAIApi", "OpenBody"]

OpenAIApi: TypeAlias = Literal["chat_completions", "responses"]
"""A format that endpoints speak: chat completions, which most do, or OpenAI's Responses."""

PATHS_OF: Mapping[str, str] = {"chat_completions": "/chat/completions", "responses": "/responses"}
"""The path of each format, below a base URL."""


class Answering(ABC):
    """The answers of the model ``model``; ``owner`` is the name of its public class, for errors.

    ``fields`` come last in a request's body, and ``where`` is the name of the option that they are given by. Raises
    ValueError for options that cannot be used.
    """

    def __init__(
        self,
        owner: str,
        model: str,
        *,
        api: str,
        structured: Structured,
        fields: Mapping[str, Any] | None,
        where: str,
        background: bool,
        prefill: Prefill | None,
    ) -> None:
        if not model:
            raise ValueError("model is empty: give the model's name as the endpoint knows it")
        if api not in get_args(OpenAIApi):
            raise ValueError(f"api is {api!r}: give 'chat_completions' or 'responses'")
        if structured not in get_args(Structured):
            raise ValueError(f"structured is {structured!r}: give 'json_schema' or 'json_object'")
        self.model = model
        self.api = api
        self.is_background = background
        self._owner = owner
        self._structured: Structured = structured
        self._fields = dict(fields or {})
        self._prefill: Prefill | None = prefill
        check_background(api, self._fields, background=background, where=where)
        check_prefill(prefill, api, background=background)

    @property
    def is_resumable(self) -> bool:
        """Whether another process can go on with an answer."""
        return self.is_background or self._prefill is not None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Yield the answer to a request."""
        body = self._body(request)
        if self.is_background:
            events = self._reader(request, {**body, **BACKGROUND_FIELDS}).begin()
        else:
            events = self._ask(request, body)
        async with aclosing(events):
            async for event in events:
                yield event

    async def resume(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncGenerator[ModelEvent, None]:
        """Yield what comes after ``so_far``. Raises ModelError with the code ``not_resumable`` when it cannot."""
        async with aclosing(self._rest(request, so_far, reference)) as events:
            async for event in events:
                yield event

    def _rest(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncGenerator[ModelEvent, None]:
        if self._prefill is not None:
            prefilled = Prefilled(request, so_far, self._prefill)
            return prefilled.rest(self._ask(request, prefilled.body(self._body(request))))
        if not self.is_background:
            raise not_resumable(f"this {self._owner} was made without background and prefill")
        if not reference:
            raise not_resumable("the response's id was not stored, since it had not come")
        return self._reader(request, {}).resume(reference, so_far)

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        make = responses_body if self.api == "responses" else chat_body
        return {**make(self.model, request, self._structured), **request.settings, **self._fields}

    def _reply(self, request: ModelRequest, redact: Redactor) -> JsonReply:
        kind = ResponsesReply if self.api == "responses" else ChatReply
        return kind(redact, structured=request.json_schema is not None)

    def _background_reply(self, request: ModelRequest, redact: Redactor) -> ResponsesReply:
        return ResponsesReply(redact, structured=request.json_schema is not None, background=True)

    @abstractmethod
    def _ask(self, request: ModelRequest, body: Mapping[str, Any]) -> AsyncGenerator[ModelEvent, None]:
        """Yield the answer to a body, whose values of None are left out."""

    @abstractmethod
    def _reader(self, request: ModelRequest, body: Mapping[str, Any]) -> BackgroundReader:
        """Return the reader of one background response, which a body asks for."""


class OpenBody(Protocol):
    """A successful answer, whose body is still to be read."""

    def read(self, reply: EndpointReply) -> AsyncGenerator[ModelEvent, None]:
        """Yield the events of the body, up to its end or that of ``reply``. Raises ModelError for one that breaks."""
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


class EndpointRequests(Protocol):
    """An HTTP client of one endpoint. Its methods return when an answer has begun, and raise ModelError."""

    async def post(self, body: dict[str, Any], *, once: bool = False) -> OpenBody:
        """Send a request, with retries; with ``once`` only while the endpoint has certainly not begun to work on it."""
        ...

    async def request(self, method: str, url: str) -> OpenBody:
        """Send a request without a body, once. The error of a refusal has its status."""
        ...


class EndpointAnswering(Answering):
    """The answers of a model at ``endpoint``, over ``client``."""

    def __init__(
        self,
        owner: str,
        model: str,
        client: EndpointRequests,
        endpoint: EndpointAddress,
        backoff_s: float,
        **options: Any,
    ) -> None:
        super().__init__(owner, model, **options)
        self._client = client
        self._endpoint = endpoint
        self._backoff_s = backoff_s

    async def cancel(self, reference: str) -> None:
        """End a background response. A failure is logged, and not raised."""
        if self.is_background:
            await cancel_response(lambda: self._cancel(reference), self._backoff_s)

    async def _cancel(self, reference: str) -> None:
        answer = await self._client.request("POST", self._endpoint.below(reference, "cancel"))
        await answer.aclose()

    async def _ask(self, request: ModelRequest, body: Mapping[str, Any]) -> AsyncGenerator[ModelEvent, None]:
        answer = await self._client.post(_filled(body))
        reply = self._reply(request, self._endpoint.redact)
        async with aclosing(answer), aclosing(answer.read(reply)) as events:
            async for event in events:
                yield event
            for event in reply.end():
                yield event
            if reply.failure is not None:
                raise reply.failure

    def _reader(self, request: ModelRequest, body: Mapping[str, Any]) -> BackgroundReader:
        requests = _BackgroundRequests(self._client, self._endpoint, _filled(body))
        return BackgroundReader(
            requests, lambda: self._background_reply(request, self._endpoint.redact), self._backoff_s
        )


class _BackgroundRequests:
    """The requests of one background response."""

    def __init__(self, client: EndpointRequests, endpoint: EndpointAddress, body: dict[str, Any]) -> None:
        self._client = client
        self._endpoint = endpoint
        self._body = body

    async def create(self) -> OpenBody:
        return await self._client.post(self._body, once=True)

    async def retrieve(self, response_id: str, after: int | None, *, streamed: bool) -> OpenBody:
        query = {"stream": "true"} if streamed else {}
        if streamed and after is not None:
            query["starting_after"] = str(after)
        return await self._client.request("GET", self._endpoint.below(response_id, **query))


def _filled(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}
