"""A conversation as the text that every store keeps."""

from __future__ import annotations

from ..errors import ConversationTooLargeError, CorruptConversationError, HistoryError
from ..history import ChatHistory

__all__ = ["decode_chat", "encode_chat"]


def encode_chat(session_id: str, chat: ChatHistory, max_bytes: int | None = None, *, holder: str = "a row") -> str:
    """Return a conversation as JSON.

    Raises ConversationTooLargeError, which names the ``holder``, when the text has more than ``max_bytes`` as UTF-8.
    """
    text = chat.to_json()
    # A character takes at most four bytes, so most conversations are not encoded only to be measured.
    if max_bytes is not None and len(text) * 4 > max_bytes:
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > max_bytes:
            raise ConversationTooLargeError(
                f'Conversation "{session_id}" has {size:,} bytes, but {holder} holds at most {max_bytes:,}: '
                "compact() it, or start a new one. Nothing was written",
                session_id,
            )
    return text


def decode_chat(session_id: str, text: object, *, place: str) -> ChatHistory:
    """Return the conversation that a stored text holds.

    Raises CorruptConversationError, which names the ``place``, when it holds none.
    """
    try:
        if not isinstance(text, str):
            raise HistoryError(f"it is stored as {type(text).__name__}, not as text")
        return ChatHistory.from_json(text)
    except HistoryError as error:
        raise CorruptConversationError(
            f'Conversation "{session_id}" in {place} cannot be read: {error}. '
            "It was left as it is: repair it, or delete it to start over",
            session_id,
        ) from error
