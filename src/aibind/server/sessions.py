"""Sessions: the live turns of each stored conversation, their streams, and the lock that orders their saving."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from weakref import WeakValueDictionary

from ..conversations.store import ConversationStore
from ..errors import ConversationConflictError
from ..history import ChatHistory
from ..models.model import Message
from ..streams.store import StreamEnd, StreamStore
from .attachments import Attachments, PendingFiles
from .exchanges import add_answer, is_answered, is_kept, place_question
from .recovery import Recovery, recover_answer
from .requests import StreamBody

__all__ = ["Session", "Sessions", "Turn"]

ALL_MESSAGES = 1_000_000_000
"""The limit of messages where there is none: a path, without what is beside it."""

logger = logging.getLogger("aibind")


class Session:
    """One stored conversation, shared by the turns that run in it at the same time.

    A store saves a conversation whole, so what another turn saved between one's load and save would be lost. Every
    change is therefore made in :meth:`changing`.
    """

    def __init__(
        self,
        session_id: str,
        conversations: ConversationStore,
        streams: StreamStore | None,
        max_messages: int | None,
        attachments: Attachments,
    ) -> None:
        self._id = session_id
        self._attachments = attachments
        self._conversations = conversations
        self._streams = streams
        self._max_messages = ALL_MESSAGES if max_messages is None else max_messages
        self._lock = asyncio.Lock()
        self._changes = 0
        self._live: list[str] = []  # stream ids, the newest last

    @property
    def live_stream(self) -> str | None:
        """The id of the newest stream that this process is producing for the conversation."""
        return self._live[-1] if self._live else None

    @asynccontextmanager
    async def changing(self) -> AsyncGenerator[None]:
        """Hold the conversation from before it is loaded until it is saved."""
        async with self._lock:
            try:
                yield
            finally:
                self._changes += 1

    async def begin(self, body: StreamBody) -> Turn:
        """Load what the model is to see and add a question to it; :meth:`Turn.save_question` stores it.

        A lost answer is recovered first. Raises RequestError for a message that the conversation does not have.
        """
        async with self._lock:
            chat = (await self._recover(self._max_messages + 1)).chat
            if target := body.edit or body.regenerate:
                # Of an answer its question is needed as well, and of either what is above.
                limit = self._max_messages + 2
                chat = await self._conversations.load(self._id, limit=limit, leaf_id=target)
            changes = self._changes
        stream_id = str(uuid.uuid4()) if self._streams is not None else None
        question_id = place_question(chat, body, stream_id, by_reference=self._attachments.by_reference)
        path = chat.tree.get_path_to(question_id, limit=self._max_messages + 1)
        messages = await self._attachments.resolve(self._id, _told(path.messages), body.attachments)
        return Turn(
            self,
            chat,
            question_id,
            stream_id,
            messages,
            is_new=not body.regenerate,
            changes=changes,
            files=self._attachments.pending(self._id, question_id, body.attachments),
        )

    async def recover(self) -> Recovery:
        """Add the lost answer to the last question, and return what became of the question."""
        async with self._lock:
            recovery = await self._recover(None)
        if self._live:
            return replace(recovery, live_stream=self._live[-1], unanswered=None, error=None)
        return recovery

    async def compact(self, summary: str) -> None:
        """Replace the stored conversation by its summary."""
        async with self.changing():
            chat = await self._conversations.load(self._id, limit=1)
            chat.compact({"role": "system", "content": summary})
            await self._conversations.save(self._id, chat)

    # --- for turns ---

    def list_stream(self, stream_id: str) -> None:
        """Add a stream to those that are live."""
        self._live.append(stream_id)

    def unlist_stream(self, stream_id: str) -> None:
        """Remove a stream from those that are live, unless it was removed before."""
        if stream_id in self._live:
            self._live.remove(stream_id)

    async def save_question(self, chat: ChatHistory, changes: int, files: PendingFiles) -> None:
        """Save the conversation with a new question; ``changes`` is how many changes it was loaded with."""
        await files.put()
        async with self.changing():
            if self._changes != changes and not chat.is_partial:
                chat.merge(await self._conversations.load(self._id))
            await self._conversations.save(self._id, chat)

    async def save_answer(
        self,
        chat: ChatHistory,
        question_id: str,
        text: str,
        end: StreamEnd,
        stream_id: str | None,
        files: PendingFiles,
    ) -> None:
        """Save the conversation with an answer, unless another process has recovered it from its stream.

        ``files`` are those of the question, which may not have been saved.
        """
        await files.put()
        async with self.changing():
            stored = await self._conversations.load(self._id, limit=1, leaf_id=question_id)
            if question_id in stored.tree:
                if is_answered(stored, question_id, stream_id):
                    return  # and its current path stays, which may go on below the answer
                chat = stored
            add_answer(chat, question_id, text, end, stream_id)
            try:
                await self._conversations.save(self._id, chat)
            except ConversationConflictError:
                if question_id in stored.tree:
                    raise
                logger.info("The answer to a question that was removed meanwhile is not kept")

    async def _recover(self, limit: int | None) -> Recovery:
        recovery = await recover_answer(self._id, self._conversations, self._streams, self._live, limit=limit)
        if recovery.recovered:
            self._changes += 1
        return recovery


class Turn:
    """A question that waits for its answer.

    The question is stored before the answer, with the id of the answering stream in its metadata: a page that opens
    the conversation meanwhile can follow the stream, and the answer of a server that was killed can be recovered.
    Other turns of the conversation may run at the same time. ``messages`` are what the model sees, the question last.
    """

    def __init__(
        self,
        session: Session,
        chat: ChatHistory,
        question_id: str,
        stream_id: str | None,
        messages: Sequence[Message],
        *,
        is_new: bool,
        changes: int,
        files: PendingFiles,
    ) -> None:
        self.stream_id = stream_id
        self.messages = messages
        self._session = session
        self._chat = chat
        self._question_id = question_id
        self._is_new = is_new
        self._changes = changes
        self._files = files

    def go_live(self) -> None:
        """List the turn's stream as live."""
        if self.stream_id is not None:
            self._session.list_stream(self.stream_id)

    async def save_question(self) -> None:
        """Store the conversation with its new question; a question that is asked again is stored already."""
        if self._is_new:
            await self._session.save_question(self._chat, self._changes, self._files)

    async def finish(self, text: str, end: StreamEnd) -> None:
        """Store the answer: the whole of it, or as much as there was when it was stopped or failed."""
        try:
            if is_kept(text, end):
                await self._session.save_answer(self._chat, self._question_id, text, end, self.stream_id, self._files)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Stop listing the turn's stream as live."""
        if self.stream_id is not None:
            self._session.unlist_stream(self.stream_id)


class Sessions:
    """The sessions in use, by id. A session is dropped together with the last turn that has it."""

    def __init__(
        self,
        conversations: ConversationStore,
        streams: StreamStore | None,
        max_messages: int | None,
        attachments: Attachments,
    ) -> None:
        self._attachments = attachments
        self._conversations = conversations
        self._streams = streams
        self._max_messages = max_messages
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()

    def find(self, session_id: str) -> Session:
        """Return the session of an id, creating it when it is not in use."""
        session = self._sessions.get(session_id)
        if session is None:
            session = Session(session_id, self._conversations, self._streams, self._max_messages, self._attachments)
            self._sessions[session_id] = session
        return session


def _told(path: Sequence[Message]) -> list[Message]:
    """Return the messages that say something to a model: no answer that never came, or was stopped at once."""
    *history, question = path
    return [*(message for message in history if message.get("content") or message.get("tool_calls")), question]
