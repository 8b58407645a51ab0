"""One turn of a stored conversation: what the model sees, and what is kept, however the turn ends."""

from __future__ import annotations

import time

from ..conversations.store import ConversationStore
from ..errors import NodeNotFoundError, RequestError, StreamNotFoundError
from ..history import ChatHistory
from ..models.model import Message
from ..streams.durable import DurableStream
from ..streams.store import StreamEnd, StreamStore
from .requests import StreamBody
from .sessions import Session

__all__ = ["Turn", "begin_turn"]


class Turn:
    """Is a question that waits for its answer.

    The question is stored before the model is asked, with the id of the stream that will answer it in its metadata
    (``streamId``): whoever opens the conversation meanwhile can follow that stream, and an answer whose producer was
    killed can still be put in its place. ``question_id`` is the message to be answered.

    Other turns of the same conversation may run meanwhile: what they have saved is merged before anything is stored.
    """

    def __init__(
        self,
        store: ConversationStore,
        session: Session,
        session_id: str,
        chat: ChatHistory,
        question_id: str,
        *,
        is_new: bool,
        seen: int,
    ) -> None:
        self.session_id = session_id
        self.question_id = question_id
        self._store = store
        self._session = session
        self._chat = chat
        self._is_new = is_new
        self._seen = seen  # so many changes are in chat

    def messages(self, most: int | None) -> list[Message]:
        """Return what the model should see, ``most`` messages before the question at most (None: all)."""
        path = self._chat.tree.get_path_to(self.question_id, limit=None if most is None else most + 1)
        *history, question = path.messages
        # An answer that never came, or was stopped before its first word, says nothing to a model.
        told = [message for message in history if message.get("content") or message.get("tool_calls")]
        return [*told, question]

    async def save_question(self) -> None:
        """Store the conversation with its new question; one that is asked again is there already."""
        if not self._is_new:
            return
        async with self._session.changing():
            if self._session.changes != self._seen:
                self._chat.merge(await self._store.load(self.session_id))
            await self._store.save(self.session_id, self._chat)

    async def save_answer(self, text: str, end: StreamEnd, stream_id: str | None) -> None:
        """Store the answer: the whole of it, or as much as there was when it was stopped or failed.

        How it ended stands in the message's metadata, as ``finish``, unless it is whole.
        """
        if not text and end.state != "done":
            return
        async with self._session.changing():
            # Another tab, or another server, may have saved meanwhile; its turns must not be lost.
            self._chat.merge(await self._store.load(self.session_id))
            if not _has_answer(self._chat, self.question_id, stream_id):
                add_answer(self._chat, self.question_id, text, end, stream_id)
            await self._store.save(self.session_id, self._chat)


async def begin_turn(
    store: ConversationStore,
    session: Session,
    body: StreamBody,
    session_id: str,
    stream_id: str | None,
    streams: StreamStore | None,
) -> Turn:
    """Load a conversation and put the question into it. Raises RequestError for a message that is not there."""
    async with session.lock:
        chat = await store.load(session_id)
        if streams is not None and await _recover_answer(chat, streams):
            # At once, so that another turn that begins now does not recover it as well.
            await store.save(session_id, chat)
            session.changes += 1
        seen = session.changes
    metadata = {"streamId": stream_id} if stream_id else None
    try:
        if body.regenerate:
            question_id = _question_of(chat, body.regenerate)
        elif body.edit:
            question_id = chat.edit(body.edit, {"role": "user", "content": body.prompt}, metadata)
        else:
            question_id = chat.append({"role": "user", "content": body.prompt}, metadata)
    except NodeNotFoundError as error:
        raise RequestError(f'This conversation has no message "{error.node_id}"', 404) from error
    return Turn(store, session, session_id, chat, question_id, is_new=not body.regenerate, seen=seen)


def add_answer(chat: ChatHistory, question_id: str, text: str, end: StreamEnd, stream_id: str | None) -> str:
    """Put an answer below its question and make it the end of the conversation; return its id."""
    metadata: dict[str, str] = {"streamId": stream_id} if stream_id else {}
    if end.state != "done":
        metadata["finish"] = end.state
    return chat.tree.branch(question_id, {"role": "assistant", "content": text}, metadata)


def _has_answer(chat: ChatHistory, question_id: str, stream_id: str | None) -> bool:
    """Say whether the answer that a stream gave is in its place."""
    question = chat.tree.get(question_id)
    if question is None or stream_id is None:
        return False
    answers = (chat.tree.get(child_id) for child_id in question.children)
    return any(answer is not None and answer.metadata.get("streamId") == stream_id for answer in answers)


def _question_of(chat: ChatHistory, node_id: str) -> str:
    node = chat.tree.get(node_id)
    if node is None:
        raise NodeNotFoundError(f'This conversation has no message "{node_id}"', node_id)
    if node.message.get("role") == "user":
        return node.id
    if node.parent_id is None:
        raise RequestError("This message answers nothing: regenerate needs an answer")
    return node.parent_id


async def _recover_answer(chat: ChatHistory, streams: StreamStore) -> bool:
    """Put the answer of a killed producer into its place, as far as it had been stored; say whether there was one."""
    leaf_id = chat.tree.active_leaf_id
    leaf = chat.tree.get(leaf_id) if leaf_id else None
    stream_id = leaf.metadata.get("streamId") if leaf and leaf.message.get("role") == "user" else None
    if leaf is None or not isinstance(stream_id, str) or _has_answer(chat, leaf.id, stream_id):
        return False
    if DurableStream.find(streams, stream_id) is not None:
        return False  # its own turn is about to save it
    try:
        text, end = await _read_lost(streams, stream_id)
    except StreamNotFoundError:
        return False
    if end is None or not text:
        return False
    add_answer(chat, leaf.id, text, end, stream_id)
    return True


async def _read_lost(streams: StreamStore, stream_id: str) -> tuple[str, StreamEnd | None]:
    """Read what a stream says, and how it ended; None while its producer still holds its lease."""
    pieces: list[str] = []
    after_seq = 0
    while True:
        page = await streams.read_page(stream_id, after_seq)
        events = [chunk.event for chunk in page.chunks]
        pieces += [event.data for event in events if event.is_text]
        if not page.has_more:
            break
        after_seq = page.chunks[-1].seq
    text = "".join(pieces)
    if page.status.end is not None:
        return text, page.status.end
    lost = page.status.expires_at <= time.time() * 1000
    return text, StreamEnd("error", "producer lost") if lost else None
