"""The messages of the chats that benchmarks store."""

from __future__ import annotations

__all__ = ["message"]

WORDS = (
    "The stream goes on where it was cut, and nothing is sent twice. Each row holds what has gathered since the last "
    "write; a reader elsewhere sees it a moment later. “Why so few rows?” – because each one is billed. "
)


def content(number: int) -> str:
    """Make a question, or an answer that is longer."""
    if number % 2 == 0:
        return f"Question {number}: what happens when the connection is lost in the middle of a reply?"
    return f"Answer {number}:\n\n{WORDS * (1 + number % 5)}"


def message(number: int) -> dict[str, str]:
    """Make a message."""
    return {"role": "user" if number % 2 == 0 else "assistant", "content": content(number)}
