"""Replies of sessions, for front ends with formats of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from ..conversations.store import ConversationStore
from ..history import ChatHistory
from ..protocols.encoder import Encoder
from ..streams.response import Body, HttpResponse
from ..streams.store import StreamStore
from .access import Access, owner_of, session_key
from .begun_replies import BegunReplies
from .claims import claim_of
from .exchanges import nodes_of
from .live_streams import live_streams
from .pending import PendingCalls
from .sessions import ALL_MESSAGES, Session, Sessions

__all__ = ["RECENT", "SessionReplies"]

RECENT = 40
"""Messages to load at first when one is looked for."""

_T = TypeVar("_T")


class AskForReply(Protocol):
    """The endpoint ``stream``."""

    def __call__(self, body: object, *, request_id: str | None, access: Access | None) -> Awaitable[HttpResponse[Body]]:
        """Answer a prompt."""
        ...


class AnswerCalls(Protocol):
    """The endpoint that takes answers to calls which wait."""

    def __call__(self, session_id: str, body: object, access: Access | None) -> Awaitable[HttpResponse[Body]]:
        """Store answers, and go on when they are all of them."""
        ...


class SessionReplies:
    """The replies of the sessions that a request may see: begun by :meth:`begin`, and followed in any format.

    What is begun passes the checks, limits and policies of the endpoint ``stream``.
    """

    def __init__(
        self,
        ask: AskForReply,
        answer: AnswerCalls,
        conversations: ConversationStore,
        sessions: Sessions,
        store: StreamStore,
        replies: BegunReplies,
        access: Access | None,
    ) -> None:
        self._ask = ask
        self._answer = answer
        self._conversations = conversations
        self._sessions = sessions
        self._store = store
        self._replies = replies
        self._access = access

    async def begin(self, body: Mapping[str, Any], *, request_id: str | None = None) -> str:
        """Begin a reply as the endpoint ``stream`` does, or find that of a repeated request; return its stream's id."""
        return await _stream_of(await self._ask(body, request_id=request_id, access=self._access))

    async def answering(self, request_id: str, session_id: str) -> str | None:
        """Return the id of the stream that :meth:`begin` began for a request; None when there is none in the session.

        Raises RequestError for a request's id that is malformed.
        """
        claim = claim_of("stream", {}, request_id, owner=self._owner)
        if claim is None or await self.session_of(claim.stream_id) != session_id:
            return None
        return claim.stream_id

    async def answer(self, session_id: str, answers: Mapping[str, Any]) -> str | None:
        """Answer calls that wait, and return the id of the stream that goes on; None when there is none.

        There is none as long as others wait, and when it has expired.
        """
        response = await self._answer(session_id, {"approvals": answers}, self._access)
        return None if isinstance(response.body, bytes) else await _stream_of(response)

    async def follow(
        self, stream_id: str, encoder: Encoder, *, after: int | None = None
    ) -> HttpResponse[AsyncGenerator[bytes]]:
        """Return the response that follows a reply, wherever it is produced: from its beginning, or after an id.

        Raises RequestError, with status 404, for one that is unknown, not the owner's, or has expired, and with 400 for
        an id out of range.
        """
        response = await self._replies.follow_in(stream_id, encoder, self._owner, after=after)
        return replace(response, headers={**response.headers, "X-Resumable-Stream-Id": stream_id})

    async def load(self, session_id: str, *, limit: int = ALL_MESSAGES) -> ChatHistory:
        """Return the last messages of a session's current path."""
        return await self._conversations.load(self._session(session_id).id, limit=limit)

    async def load_whole(self, session_id: str, *, live: str | None) -> ChatHistory:
        """Return a session's current path, with an answer that was lost with its server unless a reply is ``live``."""
        chat = await self.load(session_id)
        nodes = nodes_of(chat)
        if live is None and nodes and nodes[-1].message.get("role") in ("user", "tool"):
            return (await self._session(session_id).recover(ALL_MESSAGES)).chat
        return chat

    async def pending(self, session_id: str) -> PendingCalls | None:
        """Return the calls that the current path of a session waits with; None when there are none."""
        _, pending = await self._session(session_id).find_pending()
        return pending if pending is not None and not pending.is_going_on else None

    async def look_for(self, session_id: str, find: Callable[[ChatHistory], _T | None]) -> _T | None:
        """Return what ``find`` finds among the last messages of a session, or else on all of its current path."""
        chat = await self.load(session_id, limit=RECENT)
        found = find(chat)
        if found is None and chat.has_more_above:
            found = find(await self.load(session_id))
        return found

    async def live_stream(self, session_id: str) -> str | None:
        """Return the id of a session's newest stream under way, wherever it is produced; None when there is none."""
        return next(reversed(await live_streams(self._session(session_id), self._store)), None)

    async def is_kept(self, stream_id: str) -> bool:
        """Return whether a stream can be followed still."""
        return await self._store.get_status(stream_id, owner=self._owner) is not None

    async def is_active(self, stream_id: str) -> bool:
        """Return whether a stream has not ended."""
        status = await self._store.get_status(stream_id, owner=self._owner)
        return status is not None and status.is_active

    async def session_of(self, stream_id: str) -> str | None:
        """Return the session that a stream belongs to, as its owner names it; None when that is not known."""
        status = await self._store.get_status(stream_id, owner=self._owner)
        if status is None or status.session_id is None:
            return None
        return status.session_id.removeprefix(session_key("", self._owner))

    async def stop(self, session_id: str) -> None:
        """Stop the replies of a session that are under way, wherever they are produced."""
        for stream_id in await live_streams(self._session(session_id), self._store):
            await self.stop_stream(stream_id)

    async def stop_stream(self, stream_id: str) -> None:
        """Stop a reply; do nothing when it is unknown, not the owner's, or has ended."""
        await self._replies.stop(stream_id, self._owner)

    @property
    def _owner(self) -> str | None:
        return owner_of(self._access)

    def _session(self, session_id: str) -> Session:
        return self._sessions.find(session_id, self._owner)


async def _stream_of(response: HttpResponse[Body]) -> str:
    """Return the id of the stream that a response follows, and close it: the reply goes on without this follower."""
    assert not isinstance(response.body, bytes)
    await response.body.aclose()
    return response.headers["X-Stream-Id"]
