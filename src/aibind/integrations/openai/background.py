"""Background responses through OpenAI's client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any, TypeVar

from openai import AsyncOpenAI

from ..._time import sleep
from ...errors import ModelError
from ...models.endpoint.waits import wait_s
from ...models.model import ModelEvent
from ...models.responses.reply import ResponsesReply
from .._sdk import SdkAnswer, sdk_error, split_options, was_not_begun

__all__ = ["BACKOFF_S", "SdkRequests"]

BACKOFF_S = 0.5
"""The first wait between two attempts, in seconds, as the client has it."""

_T = TypeVar("_T")


class SdkRequests:
    """The requests of one background response; ``body`` is that of its first."""

    def __init__(self, client: AsyncOpenAI, body: Mapping[str, Any]) -> None:
        self._client = client
        # The client's own retries would begin a second response where the first one's answer was lost.
        self._once = client.with_options(max_retries=0)
        self._body = body

    async def create(self) -> SdkAnswer:
        """Ask for a response; again only when it was certainly not begun."""
        create: Any = self._once.responses.create
        options = split_options(create, self._body)
        attempt = 0
        while True:
            try:
                return SdkAnswer(await create(**options))
            except Exception as error:
                failure = sdk_error(error, has_begun=False)
                if failure is None:
                    raise
                if attempt >= self._client.max_retries or not was_not_begun(error):
                    raise failure from error
            await sleep(wait_s(BACKOFF_S, attempt))
            attempt += 1

    async def retrieve(self, response_id: str, after: int | None, *, streamed: bool) -> SdkAnswer | _WholeAnswer:
        """Ask for a response that exists."""
        retrieve: Any = self._once.responses.retrieve
        if not streamed:
            return _WholeAnswer(await _asked(retrieve(response_id)))
        start = {} if after is None else {"starting_after": after}
        return SdkAnswer(await _asked(retrieve(response_id, stream=True, **start)))

    async def cancel(self, response_id: str) -> None:
        """Cancel a response."""
        await _asked(self._once.responses.cancel(response_id))


class _WholeAnswer:
    """A response that came in one piece."""

    def __init__(self, response: Any) -> None:
        self._response = response

    async def read(self, reply: ResponsesReply) -> AsyncGenerator[ModelEvent]:
        for event in reply.take(self._response.to_dict(mode="json", warnings=False)):
            yield event

    async def aclose(self) -> None:
        pass


async def _asked(call: Awaitable[_T]) -> _T:
    """Return the result of a call of the client, whose errors are raised as ModelError."""
    try:
        return await call
    except ModelError:
        raise
    except Exception as error:
        failure = sdk_error(error, has_begun=False)
        if failure is None:
            raise
        raise failure from error
