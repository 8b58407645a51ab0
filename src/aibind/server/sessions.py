"""Sessions: the live turns of each stored conversation, their streams, and the lock that orders their saving."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from .._logging import log_fields
from .._time import sleep, wait_for_event
from ..conversations.sessions import SessionStore
from ..conversations.store import ConversationStore
from ..errors import ConversationConflictError, MalformedTreeError
from ..history import ChatHistory
from ..models.model import Message
from ..streams.schedule import LOCAL_IDLE_S, REMOTE_IDLE_S
from ..streams.store import StreamStore
from .access import session_key
from .answers import approval_message
from .attachments import Attachments, PendingFiles
from .claims import Claim
from .context import context_of, context_to_go_on
from .continuing import ContinuingTurn, add_below
from .exchanges import add_messages, continuation_of, place_question, question_of, waits
from .lost_answers import find_lost, recover_lost
from .pending import PendingCalls, answered_call, find_pending
from .recovery import OTHERS_SAVE_S, Recovery, recover_answer
from .requests import StreamBody
from .session_titles import save_titled
from .stream_ids import StreamIds
from .turns import AnswerPart, Turn

__all__ = ["Session", "Sessions"]

ALL_MESSAGES = 1_000_000_000
"""The limit of messages where there is none: a path, without what is beside it."""

_CALL_MESSAGES = 64
"""Messages to load at first for calls, their results and their answers."""

logger = logging.getLogger("aibind")


class Session:
    """One stored conversation, shared by the turns that run in it at the same time. ``id`` is that of the stores.

    Stores keep both sides of saves that cross, but as alternatives. Every change is therefore made in :meth:`changing`,
    one after the other, so that each goes on from what the one before has saved.
    """

    def __init__(
        self,
        session_id: str,
        conversations: ConversationStore,
        streams: StreamStore | None,
        max_messages: int | None,
        attachments: Attachments,
        ids: StreamIds,
        owner: str | None,
    ) -> None:
        self.id = session_id
        self._owner = owner
        self._ids = ids
        self._attachments = attachments
        self._conversations = conversations
        self._streams = streams
        self._max_messages = ALL_MESSAGES if max_messages is None else max_messages
        self._lock = asyncio.Lock()
        self._live: list[str] = []  # stream ids, the newest last
        self._start_lock = asyncio.Lock()
        self._ended = asyncio.Event()  # set, and replaced, when a stream is no longer live

    @property
    def live_stream(self) -> str | None:
        """The id of the newest stream that this process is producing for the conversation."""
        return self._live[-1] if self._live else None

    @asynccontextmanager
    async def changing(self) -> AsyncGenerator[None]:
        """Hold the conversation from before it is loaded until it is saved."""
        async with self._lock:
            yield

    async def begin(self, body: StreamBody, claim: Claim | None = None, stream_id: str | None = None) -> Turn:
        """Load what the model is to see and add a question to it; :meth:`Turn.save_question` stores it.

        A lost answer is recovered first, and calls that wait for a user are declined. The turn's stream is
        ``stream_id`` (None: it gets a random id). The ids of the stream and of the question are those of ``claim``; a
        question that an earlier attempt stored is not added again, unless it has an answer, whose stream has then
        expired. Raises RequestError for a message that the conversation does not have.
        """
        async with self._lock:
            chat = (await self._recover(self._max_messages + 1)).chat
            if body.edit:
                # What is edited is in the path with the new question's parent, and is not told itself.
                chat = await self._load(self._max_messages + 2, body.edit)
            elif body.regenerate:
                chat, target = await self._load_question(body.regenerate)
                body = replace(body, regenerate=target)
            else:
                chat = await self._decline(chat)
        if claim is not None:
            stream_id = claim.stream_id
        elif stream_id is None and self._streams is not None:
            stream_id = self._ids.new()
        new_id = claim.question_id if claim is not None else None
        there = chat.tree.get(new_id) if new_id is not None else None
        if new_id is not None and there is not None and not there.children:
            question_id, is_new = new_id, False
            chat.tree.set_active_leaf(new_id)
        else:
            question_id = place_question(
                chat,
                body,
                stream_id,
                by_reference=self._attachments.by_reference,
                new_id=new_id if there is None else None,
            )
            is_new = not body.regenerate
        path = chat.tree.get_path_to(question_id, limit=self._max_messages + 1)
        messages = await self._attachments.resolve(self.id, context_of(path.messages), body.attachments)
        return Turn(
            self,
            chat,
            question_id,
            stream_id,
            messages,
            is_new=is_new,
            files=self._attachments.pending(self.id, question_id, body.attachments),
        )

    async def messages_to(self, question_id: str) -> Sequence[Message]:
        """Return the messages that a model is asked with to answer a stored question; none where it is not stored."""
        chat = await self._load(self._max_messages + 1, question_id)
        if question_id not in chat.tree:
            return ()
        path = chat.tree.get_path_to(question_id, limit=self._max_messages + 1)
        return await self._attachments.resolve(self.id, context_of(path.messages))

    async def save_claimed(self, body: StreamBody, claim: Claim) -> None:
        """Store the question of a claimed turn whose server was killed before it could, and nothing else.

        A server that is alive stores it right after it has created the stream.
        """
        if claim.stream_id in self._live or await self._has(claim.question_id):
            return
        await sleep(OTHERS_SAVE_S)
        async with self.starting():
            if await self._has(claim.question_id):
                return
            logger.warning(
                "The question of stream %s is stored from the repeated request",
                claim.stream_id,
                extra=log_fields("turn.question_restored", stream_id=claim.stream_id, session_id=self.id),
            )
            try:
                await (await self.begin(body, claim)).save_question()
            except MalformedTreeError:
                if not await self._has(claim.question_id):
                    raise  # else another process has stored it at another time

    async def _has(self, node_id: str) -> bool:
        return node_id in (await self._load(1, node_id)).tree

    async def recover(self, limit: int | None = None) -> Recovery:
        """Add the lost answer to the last question, and return what became of the question.

        Of the conversation the last ``limit`` messages are loaded (None: all).
        """
        async with self._lock:
            recovery = await self._recover(limit)
        if self._live:
            return replace(recovery, live_stream=self._live[-1], unanswered=None, error=None)
        return recovery

    # --- calls that wait for a user ---

    async def find_pending(self, call_ids: Collection[str] = ()) -> tuple[ChatHistory, PendingCalls | None]:
        """Return the conversation, with the calls that it waits with, or the newest that have these ids.

        A lost answer is recovered first. They are loaded as far as a model is to see what is above them.
        """
        limit = min(self._max_messages + _CALL_MESSAGES, ALL_MESSAGES)
        chat = (await self.recover(limit)).chat
        while (pending := find_pending(chat, call_ids)) is None and chat.has_more_above and limit < ALL_MESSAGES:
            limit *= 4
            chat = await self._conversations.load(self.id, limit=limit)
        return chat, pending

    async def add_answers(self, pending: PendingCalls, message: Message) -> bool:
        """Store answers that are not all of them, and return False when others were stored meanwhile."""
        async with self.changing():
            return await add_below(self._conversations, self.id, pending.last.id, message, {})

    async def go_on(self, chat: ChatHistory, pending: PendingCalls, message: Message) -> ContinuingTurn:
        """Return the turn that goes on from ``pending``, all of which are answered; ``message`` has the new answers."""
        calls = [answered_call(call) for call in pending.open]
        path = chat.tree.get_path_to(pending.last.id).messages
        asked = [number for number, one in enumerate(path) if one.get("role") == "user"]
        path = path[max(0, asked[-1] - self._max_messages) :] if asked else path
        context = context_to_go_on([*path, message], [call.id for call in calls])
        return ContinuingTurn(
            self,
            self._conversations,
            chat,
            pending.last.id,
            self._ids.new(),
            await self._attachments.resolve(self.id, context),
            message=message,
            answered=calls,
            files=self._attachments.pending(self.id, pending.last.id, ()),
        )

    async def _decline(self, chat: ChatHistory) -> ChatHistory:
        """Decline the calls that a conversation ends with, as far as they wait, since a new question takes their place.

        The caller holds the conversation.
        """
        leaf = chat.tree.get(chat.tree.active_leaf_id) if chat.tree.active_leaf_id else None
        if leaf is None or not waits(leaf):
            return chat
        await add_below(self._conversations, self.id, leaf.id, approval_message((), declined=True), {})
        return await self._conversations.load(self.id, limit=self._max_messages + 2)

    async def compact(self, summary: str) -> None:
        """Replace the stored conversation by its summary."""
        async with self.changing():
            chat = await self._conversations.load(self.id, limit=1)
            chat.compact({"role": "system", "content": summary})
            await save_titled(self._conversations, self.id, chat, owner=self._owner)

    # --- for turns ---

    async def streams_before(self, stream_id: str) -> list[str]:
        """Return the ids of the streams under way that were begun before another one, oldest first.

        They are of this process and, in a store that records sessions, of any; of one that does not exist yet, all.
        """
        stored = list(await self._streams.live_streams(self.id)) if self._streams is not None else []
        here = self._live[: self._live.index(stream_id)] if stream_id in self._live else self._live
        before = stored[: stored.index(stream_id)] if stream_id in stored else stored
        return [*(other for other in here if other not in stored), *before]

    async def wait_until_first(self, stream_id: str) -> None:
        """Wait until no stream of the session is under way that was begun before this one."""
        assert self._streams is not None
        idle_s = REMOTE_IDLE_S if self._streams.flush_pace.max_interval_ms else LOCAL_IDLE_S
        while True:
            ended = self._ended
            if not await self.streams_before(stream_id):
                return
            await wait_for_event(ended, idle_s)

    @asynccontextmanager
    async def starting(self) -> AsyncGenerator[None]:
        """Hold the place in the order of streams, from before a stream is listed until it is begun or refused."""
        async with self._start_lock:
            yield

    def list_stream(self, stream_id: str) -> None:
        """Add a stream to those that are live."""
        self._live.append(stream_id)

    def unlist_stream(self, stream_id: str) -> None:
        """Remove a stream from those that are live, unless it was removed before."""
        if stream_id in self._live:
            self._live.remove(stream_id)
            if self._streams is not None and self._streams.shares_wakeups:
                self._ended.set()
                self._ended = asyncio.Event()

    async def save_question(self, chat: ChatHistory, files: PendingFiles) -> None:
        """Save the conversation with a new question."""
        await files.put()
        async with self.changing():
            await save_titled(self._conversations, self.id, chat, owner=self._owner)

    async def save_messages(self, part: AnswerPart, messages: Sequence[Message], ending: dict[str, Any] | None) -> None:
        """Save messages of an answer below those that are there; ``ending`` is the last one's metadata, at the end.

        Nothing is saved when another process has recovered the rest of the answer from its stream, or when the session
        is in a SessionStore and was deleted. When saving fails, the messages are in ``part``, and are saved with those
        that follow.
        """
        await part.files.put()
        async with self.changing():
            stored = await self._load(1, part.last_id)
            below = part.last_id
            if below not in stored.tree and part.stored_id != below:
                stored, below = await self._load(1, part.stored_id), part.stored_id
            if continuation_of(stored, below, part.stream_id):
                part.is_done = True
                return  # and the conversation's current path stays, which may go on below the answer
            if below not in stored.tree and isinstance(self._conversations, SessionStore):
                part.is_done = True
                return  # the session was deleted, perhaps by another process: the answer must not bring it back
            if part.last_id in stored.tree:
                part.chat = stored
            # The end of an answer is shown, and so is its beginning: of a question that was asked again, that makes it
            # known. In between, another turn may have gone on, and keeps its place.
            is_current = part.chat.tree.active_leaf_id == part.last_id
            activate = ending is not None or is_current or (part.is_again and not part.count)
            part.last_id = add_messages(
                part.chat, part.last_id, messages, part.stream_id, count=part.count, ending=ending, activate=activate
            )
            part.count += len(messages)
            part.has_end = part.has_end or ending is not None
            try:
                await self._conversations.save(self.id, part.chat)
            except ConversationConflictError:
                if not part.chat.is_partial:
                    raise  # others keep saving first
                logger.info(
                    "The answer to a question that was removed meanwhile is not kept",
                    extra=log_fields("turn.answer_dropped", stream_id=part.stream_id, session_id=self.id),
                )
            part.stored_id = part.last_id

    async def _load(self, limit: int, leaf_id: str) -> ChatHistory:
        return await self._conversations.load(self.id, limit=limit, leaf_id=leaf_id)

    async def _load_question(self, node_id: str) -> tuple[ChatHistory, str]:
        """Load the question that a message of an answer belongs to, and as much above it as the model is to see.

        Return them with the question's id; with ``node_id`` itself when there is no question.
        """
        limit = self._max_messages + 2
        chat = await self._load(limit, node_id)
        while node_id in chat.tree:
            question_id, has_more = question_of(chat, node_id), chat.tree.has_more_above(node_id)
            if question_id is not None:
                is_enough = len(chat.tree.get_path_to(question_id).node_ids) > self._max_messages
                if not is_enough and has_more:
                    chat = await self._load(self._max_messages + 1, question_id)
                return chat, question_id
            if not has_more:
                break
            limit *= 4  # the answer is longer than that
            chat = await self._load(limit, node_id)
        return chat, node_id

    async def _recover(self, limit: int | None) -> Recovery:
        """Recover the answer to the last question, and those of lost producers elsewhere in the conversation."""

        def recover_last() -> Awaitable[Recovery]:
            return recover_answer(self.id, self._conversations, self._streams, self._live, limit=limit)

        recovery, lost = await asyncio.gather(recover_last(), find_lost(self.id, self._streams, self._live))
        if not lost or self._streams is None:
            return recovery
        count = await recover_lost(self.id, self._conversations, self._streams, lost)
        recovered = recovery.recovered or count > 0
        return replace(await recover_last(), recovered=recovered) if count else recovery


class Sessions:
    """The sessions in use, by the ids of the stores. A session is dropped together with the last turn that has it."""

    def __init__(
        self,
        conversations: ConversationStore,
        streams: StreamStore | None,
        max_messages: int | None,
        attachments: Attachments,
        ids: StreamIds,
    ) -> None:
        self._attachments = attachments
        self._ids = ids
        self._conversations = conversations
        self._streams = streams
        self._max_messages = max_messages
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()

    @property
    def conversations(self) -> ConversationStore:
        """The store of the conversations."""
        return self._conversations

    def find(self, session_id: str, owner: str | None = None) -> Session:
        """Return an owner's session by the id that the owner's requests name, creating it when it is not in use."""
        key = session_key(session_id, owner)
        session = self._sessions.get(key)
        if session is None:
            session = Session(
                key, self._conversations, self._streams, self._max_messages, self._attachments, self._ids, owner
            )
            self._sessions[key] = session
        return session
