"""Endpoints that speak OpenAI's formats as a Model, inside a Worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from ..models import ModelEvent, ModelRequest
from ..models.answering import PATHS_OF, EndpointAnswering
from ..models.chat import Prefill, Structured
from ..models.endpoint.address import EndpointAddress
from . import ffi
from .fetch_client import FetchClient

__all__ = ["OpenAIFetchModel"]


class OpenAIFetchModel:
    """The model ``model`` at the endpoint ``base_url``, over JavaScript's ``fetch``: in a Worker and its objects.

    Options, requests, answers and errors are those of :class:`~aibind.models.OpenAIModel`, which needs sockets. There
    are no connections to keep or to close. ``fetch`` does not tell whether an endpoint got a request that failed, so a
    request for a background response is sent again after 429 and 503 alone.

    Raises RuntimeError outside a Worker, and ValueError for arguments that cannot be used.
    """

    def __init__(
        self,
        model: str,
        *,
        api: str = "chat_completions",
        background: bool = False,
        prefill: Prefill | None = None,
        base_url: str = "https://api.openai.com/v1",
        api_key: str | None = None,
        timeout_s: float | None = 300.0,
        max_retries: int = 2,
        backoff_s: float = 0.5,
        structured: Structured = "json_schema",
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        ffi.require("OpenAIFetchModel", "aibind.models.OpenAIModel")
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout_s is {timeout_s}: give a number of seconds above 0, or None for no limit")
        self._endpoint = EndpointAddress(base_url, PATHS_OF.get(api, ""), api_key, headers or {})
        self._answering = EndpointAnswering(
            "OpenAIFetchModel",
            model,
            FetchClient(self._endpoint, timeout_s=timeout_s, max_retries=max_retries, backoff_s=backoff_s),
            self._endpoint,
            backoff_s,
            api=api,
            structured=structured,
            fields=extra_body,
            where="extra_body",
            background=background,
            prefill=prefill,
        )

    @property
    def model_name(self) -> str:
        """The model that is asked."""
        return self._answering.model

    @property
    def resumable(self) -> bool:
        """Whether another process can go on with an answer: with ``background`` or ``prefill``."""
        return self._answering.is_resumable

    @property
    def repeats_exactly(self) -> bool:
        """Whether the rest of an answer is what the first process would have read: with ``background``."""
        return self._answering.is_background

    def __repr__(self) -> str:
        return f"OpenAIFetchModel({self.model_name!r}, base_url={self._endpoint.shown!r})"

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Answer ``request``, as :meth:`aibind.models.OpenAIModel.stream` does."""
        return self._answering.stream(request)

    def resume(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncGenerator[ModelEvent, None]:
        """Yield what comes after ``so_far``, as :meth:`aibind.models.OpenAIModel.resume` does."""
        return self._answering.resume(request, so_far, reference)

    async def cancel(self, reference: str) -> None:
        """End the background response whose id is ``reference``, within 10 s. A failure is logged, and not raised."""
        await self._answering.cancel(reference)
