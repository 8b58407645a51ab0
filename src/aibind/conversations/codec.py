"""A conversation as stored text, whatever the store."""

from __future__ import annotations

from ..errors import ConversationTooLargeError, CorruptConversationError, HistoryError
from ..history import ChatHistory

__all__ = ["decode_chat", "encode_chat"]


def encode_chat(session_id: str, chat: ChatHistory, max_bytes: int | None = None) -> str:
    """Write a conversation as JSON. Raises ConversationTooLargeError when it has more than ``max_bytes`` as UTF-8."""
    text = chat.to_json()
    # A character takes at most four bytes, so that most are not encoded only to be counted.
    if max_bytes is not None and len(text) * 4 > max_bytes:
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > max_bytes:
            raise ConversationTooLargeError(
                f'Conversation "{session_id}" has {size:,} bytes, but a row holds at most {max_bytes:,}: '
                "compact() it, or begin a new one; nothing was written",
                session_id,
            )
    return text


def decode_chat(session_id: str, text: object) -> ChatHistory:
    """Read a stored conversation. Raises CorruptConversationError when it is none."""
    try:
        if not isinstance(text, str):
            raise HistoryError(f"it is stored as {type(text).__name__}, not as text")
        return ChatHistory.from_json(text)
    except HistoryError as error:
        raise CorruptConversationError(
            f'Conversation "{session_id}" is stored, but cannot be read: {error}. '
            "It was left as it is: mend it, or delete it to begin anew",
            session_id,
        ) from error
