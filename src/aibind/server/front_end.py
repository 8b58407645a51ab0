"""The base of the endpoints of other front ends."""

from __future__ import annotations

from abc import ABC
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

from ..errors import RequestError
from ..streams.response import Body, HttpResponse
from .access import Access, Action, Authorize
from .entrance import Enter, Entrance
from .handler import StreamHandler
from .json_body import parse_json
from .session_replies import SessionReplies
from .session_routes import ReadBody

__all__ = ["FrontEnd"]

_T = TypeVar("_T")


class FrontEnd(Entrance, ABC):
    """The endpoints of a front end over the sessions of a handler.

    ``options`` are fields of the endpoint ``stream`` that every turn has. With ``stop_on_close`` a page that closes the
    connection of a turn stops it. Raises ValueError for a handler that keeps no replies or no conversations.
    """

    def __init__(
        self,
        handler: StreamHandler,
        *,
        prefix: str,
        options: Mapping[str, Any],
        stop_on_close: bool,
        authorize: Authorize | None,
        allowed_hosts: Iterable[str],
        allowed_origins: Iterable[str],
    ) -> None:
        super().__init__(
            handler, prefix=prefix, authorize=authorize, allowed_hosts=allowed_hosts, allowed_origins=allowed_origins
        )
        if not handler.keeps_sessions:
            raise ValueError(
                "A front end needs replies and conversations that are kept: give the StreamHandler resumable=True and"
                " conversations=…"
            )
        self._options = dict(options)
        self._stop_on_close = stop_on_close

    def _replies(self, access: Access | None) -> SessionReplies:
        return self._handler.session_replies(access)

    def _stopping(
        self, response: HttpResponse[AsyncGenerator[bytes]], replies: SessionReplies, stream_id: str
    ) -> HttpResponse[Body]:
        """Return the response to a turn, whose closing stops the reply where that is wanted."""
        if not self._stop_on_close:
            return response
        return replace(response, body=_stopping(response.body, replies, stream_id))

    async def _read(
        self,
        read_json: ReadBody,
        enter: Enter,
        parse: Callable[[object], _T],
        purpose: Callable[[_T | None], tuple[Action, str | None]],
    ) -> tuple[_T, Access | None]:
        """Return a body after parsing, and what its request is granted.

        ``purpose`` is what the request is for, and the id of its session; of a body that is refused, None. Nobody is
        told what is wrong with it before they are known. Raises RequestError.
        """
        asked: _T | None = None
        error: RequestError | None = None
        try:
            asked = parse(await parse_json(await read_json()))
        except RequestError as refused:
            error = refused
        access = await enter(*purpose(asked))
        if asked is None:
            raise error or RequestError("The body cannot be read")
        return asked, access


async def _stopping(body: AsyncGenerator[bytes], replies: SessionReplies, stream_id: str) -> AsyncGenerator[bytes]:
    """Yield a body, and stop its reply when it is closed before its end."""
    is_whole = False
    try:
        async with aclosing(body):
            async for data in body:
                yield data
        is_whole = True
    finally:
        if not is_whole:
            await replies.stop_stream(stream_id)
