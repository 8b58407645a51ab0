"""The client for programs without an event loop, such as scripts."""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterator, Mapping
from types import TracebackType
from typing import Self, TypeVar

from ..errors import ClientError
from . import calls
from .approvals import WaitingCall
from .calls import Answer, Operation
from .events import ReplyEvent
from .follower import ReplyFollower
from .options import BaseClient, ClientOptions
from .reply import ReplyState
from .sessions import Session, SessionList

try:
    import httpx2
except ImportError as error:
    raise ImportError(
        'aibind.client.Client needs httpx2: install it with pip install "aibind[http]"; in a Worker use AsyncClient'
    ) from error

__all__ = ["Client", "Reply"]

_T = TypeVar("_T")


class Reply(ReplyState):
    """A reply: iterate over it for its events, or :meth:`read` it for its text; see :class:`AsyncReply`."""

    def __init__(self, client: Client, follower: ReplyFollower) -> None:
        super().__init__(follower)
        self._client = client

    def __iter__(self) -> Iterator[ReplyEvent]:
        return self._client._follow(self._follower)

    def read(self) -> str:
        """Read the reply to its end and return its text."""
        for _ in self:
            pass
        return self.text

    def stop(self) -> None:
        """Stop the reply at the server, as far as it has told its id. What there is of it is kept."""
        if self.stream_id:
            self._client.stop(self.stream_id)


class Client(BaseClient[Reply]):
    """The client for programs without an event loop, with the options and methods of :class:`AsyncClient`.

    ``http`` is an ``httpx2.Client``. One client may serve many threads.
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
        http: httpx2.Client | None = None,
    ) -> None:
        super().__init__(
            ClientOptions(
                base_url.rstrip("/") + prefix.rstrip("/"), dict(headers or {}), resumable, timeout_s, max_failures
            )
        )
        self._owns_http = http is None
        self._http = http or httpx2.Client(trust_env=not self._options.is_loopback)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. A client that was given stays open."""
        if self._owns_http:
            self._http.close()

    # --- replies ---

    def _reply(self, follower: ReplyFollower) -> Reply:
        return Reply(self, follower)

    def stop(self, stream_id: str) -> None:
        """Stop a reply, wherever it is produced. What there is of it is kept."""
        self._run(calls.stop(stream_id))

    # --- sessions ---

    def list_sessions(self, *, limit: int | None = None, before: str | None = None, live: bool = False) -> SessionList:
        """Return sessions, most recently saved first; with ``live`` also their replies under way."""
        return self._run(calls.list_sessions(limit, before, live=live))

    def open_session(self, session_id: str, *, limit: int | None = None, before: str | None = None) -> Session | None:
        """Return a session with a page of its messages; None when it is unknown or has expired."""
        return self._run(calls.open_session(session_id, limit, before))

    def list_approvals(self, session_id: str) -> tuple[WaitingCall, ...]:
        """Return the calls that a session waits with, which :meth:`approve` answers; none where it is unknown."""
        return self._run(calls.list_approvals(session_id))

    def rename(self, session_id: str, title: str | None) -> Session:
        """Change the title of a session, and return it."""
        return self._run(calls.change_session(session_id, {"title": title}))

    def select(self, session_id: str, message_id: str) -> Session:
        """Make the branch of a message the current path, and return the session."""
        return self._run(calls.change_session(session_id, {"activeLeafId": message_id}))

    def delete(self, session_id: str) -> None:
        """Stop the replies of a session and delete it; an unknown one is no error."""
        self._run(calls.delete_session(session_id))

    def export_session(self, session_id: str) -> bytes:
        """Return a conversation with all its branches and files, as JSON in UTF-8."""
        return self._run(calls.export_session(session_id))

    def import_session(self, content: bytes, *, session_id: str | None = None, title: str | None = None) -> str:
        """Store an exported conversation, and return its session's id."""
        return self._run(calls.import_session(content, session_id, title))

    # --- connections ---

    def _run(self, operation: Operation[_T]) -> _T:
        try:
            response = self._http.request(**self._options.arguments(operation.call))
        except httpx2.HTTPError as error:
            raise ClientError(f"The server could not be reached: {error or type(error).__name__}") from error
        return operation.result(Answer(response.status_code, response.headers, response.content))

    def _follow(self, follower: ReplyFollower) -> Generator[ReplyEvent, None, None]:
        while not follower.is_ended:
            lost: Exception = EOFError("the response ended before the reply did")
            try:
                with self._http.stream(**self._options.arguments(follower.next_call())) as response:
                    if follower.open(response.status_code, response.headers):
                        for data in response.iter_bytes():
                            yield from follower.feed(data)
                            if follower.is_ended:
                                break
                    else:
                        answer = Answer(response.status_code, response.headers, response.read())
                        lost = follower.refuse(answer)
            except httpx2.HTTPError as error:
                lost = error
            if not follower.is_ended:
                time.sleep(follower.lost(lost, random.random()))
        follower.raise_failure()
