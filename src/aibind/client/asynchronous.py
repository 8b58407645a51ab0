"""The client for programs with an event loop."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from .._time import sleep
from ..errors import ClientError
from . import calls
from .approvals import WaitingCall
from .calls import Answer, Call, Operation
from .events import ReplyEvent
from .follower import ReplyFollower
from .options import BaseClient, ClientOptions
from .reply import ReplyState
from .sessions import Session, SessionList
from .transport import ClientTransport, TransportResponse, choose_transport

with suppress(ImportError):  # for the hints: a Worker has none
    import httpx2

__all__ = ["AsyncClient", "AsyncReply"]

_T = TypeVar("_T")


class AsyncReply(ReplyState):
    """A reply: iterate over it for its events, or :meth:`read` it for its text.

    A connection that is lost is replaced, and the reply goes on after its last event, without a gap and without a
    repetition. Iterating raises ClientError when the server refuses, or cannot be reached ``max_failures`` times in a
    row, and at the end ReplyFailedError for a reply that failed. A reply that was stopped ends normally.

    Leaving the iteration closes the connection, and the reply goes on at the server; iterating again continues it.
    """

    def __init__(self, client: AsyncClient, follower: ReplyFollower) -> None:
        super().__init__(follower)
        self._client = client

    def __aiter__(self) -> AsyncIterator[ReplyEvent]:
        return self._client._follow(self._follower)

    async def read(self) -> str:
        """Read the reply to its end and return its text."""
        async for _ in self:
            pass
        return self.text

    async def stop(self) -> None:
        """Stop the reply at the server, as far as it has told its id. What there is of it is kept."""
        if self.stream_id:
            await self._client.stop(self.stream_id)


class AsyncClient(BaseClient[AsyncReply]):
    """A client of the server at ``base_url``, whose endpoints are below ``prefix``.

    Keep one for the life of the program: it holds connections, which ``aclose()`` closes.

    - ``headers`` go with every request, such as ``Authorization``.
    - ``resumable`` is whether the server's replies are: without it a lost connection is the end of a reply.
    - ``timeout_s`` is the longest silence in seconds; servers send a comment every 15.
    - ``max_failures`` is how many connections in a row may bring nothing. The waits between them double from 0.25 s to
      5 s, or are those that the server asks for; one that brought something is replaced at once.
    - ``http`` is an ``httpx2.AsyncClient`` that you keep and close, or another transport. Without it the client has an
      ``httpx2.AsyncClient``, and in a Cloudflare Worker JavaScript's ``fetch``.

    Every method raises ClientError for what the server refuses, with its status, and when it is out of reach.
    """

    def __init__(
        self,
        base_url: str,
        *,
        prefix: str = "/__aibind__",
        headers: Mapping[str, str] | None = None,
        resumable: bool = True,
        timeout_s: float = 60.0,
        max_failures: int = 10,
        http: httpx2.AsyncClient | ClientTransport | None = None,
    ) -> None:
        super().__init__(
            ClientOptions(
                base_url.rstrip("/") + prefix.rstrip("/"), dict(headers or {}), resumable, timeout_s, max_failures
            )
        )
        self._owns_transport = http is None
        self._transport = choose_transport(http, trust_env=not self._options.is_loopback)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. A client that was given stays open."""
        if self._owns_transport:
            await self._transport.aclose()

    # --- replies ---

    def _reply(self, follower: ReplyFollower) -> AsyncReply:
        return AsyncReply(self, follower)

    async def stop(self, stream_id: str) -> None:
        """Stop a reply, wherever it is produced. What there is of it is kept."""
        await self._run(calls.stop(stream_id))

    # --- sessions ---

    async def list_sessions(
        self, *, limit: int | None = None, before: str | None = None, live: bool = False
    ) -> SessionList:
        """Return sessions, most recently saved first; with ``live`` also their replies under way."""
        return await self._run(calls.list_sessions(limit, before, live=live))

    async def open_session(
        self, session_id: str, *, limit: int | None = None, before: str | None = None
    ) -> Session | None:
        """Return a session with a page of its messages; None when it is unknown or has expired."""
        return await self._run(calls.open_session(session_id, limit, before))

    async def list_approvals(self, session_id: str) -> tuple[WaitingCall, ...]:
        """Return the calls that a session waits with, which :meth:`approve` answers; none where it is unknown."""
        return await self._run(calls.list_approvals(session_id))

    async def rename(self, session_id: str, title: str | None) -> Session:
        """Change the title of a session, and return it."""
        return await self._run(calls.change_session(session_id, {"title": title}))

    async def select(self, session_id: str, message_id: str) -> Session:
        """Make the branch of a message the current path, and return the session."""
        return await self._run(calls.change_session(session_id, {"activeLeafId": message_id}))

    async def delete(self, session_id: str) -> None:
        """Stop the replies of a session and delete it; an unknown one is no error."""
        await self._run(calls.delete_session(session_id))

    async def export_session(self, session_id: str) -> bytes:
        """Return a conversation with all its branches and files, as JSON in UTF-8."""
        return await self._run(calls.export_session(session_id))

    async def import_session(self, content: bytes, *, session_id: str | None = None, title: str | None = None) -> str:
        """Store an exported conversation, and return its session's id."""
        return await self._run(calls.import_session(content, session_id, title))

    # --- connections ---

    async def _run(self, operation: Operation[_T]) -> _T:
        try:
            response = await self._send(operation.call)
            try:
                answer = await _whole(response)
            finally:
                await response.aclose()
        except OSError as error:
            raise ClientError(f"The server could not be reached: {error or type(error).__name__}") from error
        return operation.result(answer)

    async def _follow(self, follower: ReplyFollower) -> AsyncGenerator[ReplyEvent]:
        while not follower.is_ended:
            lost: Exception = EOFError("the response ended before the reply did")
            try:
                response = await self._send(follower.next_call())
                try:
                    if follower.open(response.status, response.headers):
                        async for data in response:
                            for event in follower.feed(data):
                                yield event
                            if follower.is_ended:
                                break
                    else:
                        lost = follower.refuse(await _whole(response))
                finally:
                    await response.aclose()
            except OSError as error:
                lost = error
            if not follower.is_ended:
                await sleep(follower.lost(lost, random.random()))
        follower.raise_failure()

    async def _send(self, call: Call) -> TransportResponse:
        options = self._options
        return await self._transport.open(
            call.method,
            options.url + call.path,
            headers={**options.headers, **call.headers},
            body=call.body,
            timeout_s=options.timeout_s,
        )


async def _whole(response: TransportResponse) -> Answer:
    return Answer(response.status, response.headers, b"".join([piece async for piece in response]))
