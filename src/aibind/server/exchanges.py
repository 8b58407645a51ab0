"""Questions and answers in a conversation's tree.

A question that a durable stream answers has that stream's id in its metadata (``streamId``), and so has each message of
the answer. Its ``messageId`` is the id that its page knows it by. An answer is a chain of messages below its question:
for each round of tool calls the model's message and the tools' results, and at the end a message of the model without
results below it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._json import is_list, is_object
from ..errors import NodeNotFoundError, RequestError
from ..history import ChatHistory
from ..history.node import Message, TreeNode
from ..streams.store import StreamEnd
from .answers import Answer
from .reply_events import WAITING, AnsweredCall
from .requests import StreamBody

__all__ = [
    "OpenTurn",
    "add_messages",
    "answered_calls",
    "answers_in",
    "continuation_of",
    "count_stored",
    "find_open_turn",
    "is_approval",
    "is_kept",
    "last_question",
    "nodes_of",
    "pending_stream",
    "place_question",
    "question_of",
    "requests_in",
    "waits",
]

_ANSWERS = uuid.UUID("5c1f4f0e-6a0b-4d0e-9f5d-7f3f0a6d1c52")
"""The name space of the ids of answers' messages."""


def place_question(
    chat: ChatHistory,
    body: StreamBody,
    stream_id: str | None,
    *,
    by_reference: bool = False,
    new_id: str | None = None,
) -> str:
    """Return the id of the message that a request wants answered, after adding it when it is new.

    With ``by_reference`` it refers to its attachments. A question that is new gets ``new_id`` (None: a random one).
    Raises RequestError for a message that the conversation does not have, or that cannot be edited or answered.
    """
    known = {"streamId": stream_id, "messageId": body.message_id}
    metadata = {name: value for name, value in known.items() if value}
    try:
        if body.regenerate:
            question_id = question_of(chat, body.regenerate)
            if question_id is None:
                raise RequestError("This message answers nothing: regenerate needs an answer")
            return question_id
        if body.edit:
            node = chat.tree.get(body.edit)
            if node is not None and node.message.get("role") != "user":
                raise RequestError("This message is not a user's: edit needs the id of a question")
            return chat.edit(body.edit, body.question(by_reference=by_reference), metadata, new_id=new_id)
    except NodeNotFoundError as error:
        raise RequestError(f'This conversation has no message "{error.node_id}"', 404) from error
    return chat.append(body.question(by_reference=by_reference), metadata, new_id=new_id)


def question_of(chat: ChatHistory, node_id: str) -> str | None:
    """Return the id of the question that a message of an answer belongs to; of a question, its own.

    None when there is none above it, as far as the conversation was loaded. Raises NodeNotFoundError for a message that
    is not there.
    """
    node = chat.tree.get(node_id)
    if node is None:
        raise NodeNotFoundError(f'This conversation has no message "{node_id}"', node_id)
    if node.message.get("role") == "user":
        return node.id
    while node is not None and node.parent_id is not None:
        node = chat.tree.get(node.parent_id)
        if node is not None and node.message.get("role") not in ("assistant", "tool"):
            return node.id
    return None


def is_kept(answer: Answer, end: StreamEnd) -> bool:
    """Return whether an answer goes into the conversation: it is whole, or it got as far as its first word or call."""
    return answer.says_something or end.state == "done"


def add_messages(
    chat: ChatHistory,
    parent_id: str,
    messages: Sequence[Message],
    stream_id: str | None,
    *,
    count: int,
    ending: dict[str, Any] | None = None,
    activate: bool = True,
) -> str:
    """Add messages of an answer below one another, and return the id of the last; ``ending`` is its metadata.

    ``count`` is how many messages of the answer are there. With ``activate`` the last one becomes the end of the
    conversation. The messages of a stream's answer have ids that follow from the stream's and from what they are below
    (a request's id, and with it a stream's, may come again once it has expired): when two processes store them, or a
    network delivers a save late, they are there once.
    """
    metadata: dict[str, Any] = {"streamId": stream_id} if stream_id else {}
    for number, message in enumerate(messages, 1):
        last = ending or {} if number == len(messages) else {}
        node_id = str(uuid.uuid5(_ANSWERS, f"{stream_id} {parent_id} {count + number}")) if stream_id else None
        parent_id = chat.tree.add_child(parent_id, message, {**metadata, **last}, node_id=node_id)
    if activate:
        chat.tree.set_active_leaf(parent_id)
    return parent_id


def continuation_of(chat: ChatHistory, node_id: str, stream_id: str | None) -> TreeNode | None:
    """Return the message of a stream's answer below another, as far as it was loaded; None when there is none."""
    node = chat.tree.get(node_id)
    if node is None or stream_id is None:
        return None
    children = (chat.tree.get(child_id) for child_id in node.children)
    return next(
        (child for child in children if child is not None and child.metadata.get("streamId") == stream_id), None
    )


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A turn whose answer lacks its end. ``last`` is its question, or the last message of the answer that is there."""

    last: TreeNode
    stream_id: str | None

    @property
    def is_unanswered(self) -> bool:
        """Whether nothing of the answer is there."""
        return _is_question(self.last)

    @property
    def answered(self) -> list[AnsweredCall]:
        """The calls that a user has answered, of a turn that goes on from them and of which nothing is there yet."""
        return answered_calls(self.last)


def find_open_turn(chat: ChatHistory, node_id: str | None = None, answered_by: str | None = None) -> OpenTurn | None:
    """Return the turn that a conversation ends with, if its answer lacks its end; None when it lacks nothing.

    With ``node_id``, it is the turn of that message, and with ``answered_by`` the answer of that stream.

    Of a conversation that was loaded in part, an answer that goes on below what was loaded looks as if it lacked that:
    load what is below :attr:`OpenTurn.last`, and look again with its id as ``node_id``.
    """
    node_id = node_id or chat.tree.active_leaf_id
    first = last = chat.tree.get(node_id) if node_id else None
    if last is None:
        return None
    stream_id = answered_by or last.metadata.get("streamId")
    stream_id = stream_id if isinstance(stream_id, str) else None
    while (below := continuation_of(chat, last.id, stream_id)) is not None:
        last = below
    may_go_on = not waits(last) and chat.is_partial and last is not first and bool(last.message.get("tool_calls"))
    is_open = _is_question(last) or (last.message.get("role") == "tool" and not waits(last)) or may_go_on
    return OpenTurn(last, stream_id) if is_open else None


def count_stored(chat: ChatHistory, turn: OpenTurn) -> int | None:
    """Return how many messages of a turn's answer are stored; None when not all of them were loaded."""
    count = 0
    node: TreeNode | None = turn.last
    while node is not None and not _is_question(node) and node.metadata.get("streamId") == turn.stream_id:
        count += 1
        if node.parent_id is None:
            return count
        node = chat.tree.get(node.parent_id)
    return count if node is not None else None


def last_question(chat: ChatHistory) -> TreeNode | None:
    """Return the question that a conversation ends with; None when it ends with another message, or is empty."""
    leaf = chat.tree.get(chat.tree.active_leaf_id) if chat.tree.active_leaf_id else None
    return leaf if leaf is not None and leaf.message.get("role") == "user" else None


def pending_stream(chat: ChatHistory) -> str | None:
    """Return the id of the stream whose answer, or the rest of it, the conversation lacks; None when it lacks none."""
    turn = find_open_turn(chat)
    return turn.stream_id if turn is not None else None


def waits(node: TreeNode) -> bool:
    """Return whether a message ends an answer that waits for a user, or holds answers that are not all of them."""
    return node.metadata.get("finish") == WAITING or (is_approval(node.message) and not answered_calls(node))


def nodes_of(chat: ChatHistory) -> list[TreeNode]:
    """Return the current path of a conversation, as far as it was loaded."""
    nodes = (chat.tree.get(node_id) for node_id in chat.tree.get_active_path().node_ids)
    return [node for node in nodes if node is not None]


def is_approval(message: Message) -> bool:
    """Return whether a message holds a user's answers to requests for approval."""
    return message.get("role") == "tool" and is_list(message.get("approvals"))


def answers_in(message: Message) -> list[Mapping[str, Any]]:
    """Return a user's answers that a message holds."""
    return [answer for answer in message["approvals"] if is_object(answer)]


def requests_in(node: TreeNode) -> list[dict[str, Any]]:
    """Return the requests that an answer waits, or waited, with."""
    asked = node.metadata.get("approvals")
    requests = asked.get("requests") if is_object(asked) else None
    return [request for request in requests if is_object(request)] if is_list(requests) else []


def answered_calls(node: TreeNode) -> list[AnsweredCall]:
    """Return the calls that a turn goes on from, of the message that begins it; none of any other message."""
    found = node.metadata.get("answered") if is_approval(node.message) else None
    return [AnsweredCall.from_json(call) for call in found if is_object(call)] if is_list(found) else []


def _is_question(node: TreeNode) -> bool:
    return node.message.get("role") == "user" or bool(answered_calls(node))
