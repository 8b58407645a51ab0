"""Questions and answers in a conversation's tree.

A question that a durable stream answers has that stream's id in its metadata (``streamId``), and so has the answer.
"""

from __future__ import annotations

from ..errors import NodeNotFoundError, RequestError
from ..history import ChatHistory
from ..history.node import TreeNode
from ..streams.store import StreamEnd
from .requests import StreamBody

__all__ = ["add_answer", "is_answered", "is_kept", "last_question", "pending_stream", "place_question"]


def place_question(chat: ChatHistory, body: StreamBody, stream_id: str | None, *, by_reference: bool = False) -> str:
    """Return the id of the message that a request wants answered, after adding it when it is new.

    With ``by_reference`` it refers to its attachments. Raises RequestError for a message that the conversation does not
    have.
    """
    metadata = {"streamId": stream_id} if stream_id else None
    try:
        if body.regenerate:
            return _question_of(chat, body.regenerate)
        if body.edit:
            return chat.edit(body.edit, body.question(by_reference=by_reference), metadata)
    except NodeNotFoundError as error:
        raise RequestError(f'This conversation has no message "{error.node_id}"', 404) from error
    return chat.append(body.question(by_reference=by_reference), metadata)


def is_kept(text: str, end: StreamEnd) -> bool:
    """Return whether an answer goes into the conversation: it is whole, or it got as far as its first word."""
    return bool(text) or end.state == "done"


def add_answer(chat: ChatHistory, question_id: str, text: str, end: StreamEnd, stream_id: str | None) -> None:
    """Add an answer below its question and make it the end of the conversation.

    Unless the answer is whole, its metadata tells how it ended (``finish``: ``stopped`` or ``error``).
    """
    metadata: dict[str, str] = {"streamId": stream_id} if stream_id else {}
    if end.state != "done":
        metadata["finish"] = end.state
    chat.tree.branch(question_id, {"role": "assistant", "content": text}, metadata)


def is_answered(chat: ChatHistory, question_id: str, stream_id: str | None) -> bool:
    """Return whether a question already has the answer of a stream."""
    question = chat.tree.get(question_id)
    if question is None or stream_id is None:
        return False
    answers = (chat.tree.get(child_id) for child_id in question.children)
    return any(answer is not None and answer.metadata.get("streamId") == stream_id for answer in answers)


def last_question(chat: ChatHistory) -> TreeNode | None:
    """Return the question that a conversation ends with; None when it ends with another message, or is empty."""
    leaf = chat.tree.get(chat.tree.active_leaf_id) if chat.tree.active_leaf_id else None
    return leaf if leaf is not None and leaf.message.get("role") == "user" else None


def pending_stream(chat: ChatHistory) -> str | None:
    """Return the id of the stream whose answer the last question still lacks; None when it lacks none."""
    question = last_question(chat)
    stream_id = question.metadata.get("streamId") if question is not None else None
    if question is None or not isinstance(stream_id, str) or is_answered(chat, question.id, stream_id):
        return None
    return stream_id


def _question_of(chat: ChatHistory, node_id: str) -> str:
    node = chat.tree.get(node_id)
    if node is None:
        raise NodeNotFoundError(f'This conversation has no message "{node_id}"', node_id)
    if node.message.get("role") == "user":
        return node.id
    if node.parent_id is None:
        raise RequestError("This message answers nothing: regenerate needs an answer")
    return node.parent_id
