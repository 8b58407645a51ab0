"""Titles of sessions, made of the first words of what was asked."""

from __future__ import annotations

import re

from ..conversations.sessions import SessionStore
from ..conversations.store import ConversationStore
from ..history import ChatHistory
from .contents import texts_of

__all__ = ["MAX_TITLE_CHARS", "bounded_title", "save_titled", "title_of"]

MAX_TITLE_CHARS = 120
"""The limit of a title, in characters."""

MADE_TITLE_CHARS = 60
"""Characters of a title that is made of a prompt."""

_READ_CHARS = 2_000  # enough for the title of a prompt that begins with a lot of markup

_COMMAND = re.compile(r"\A/(\w+)(?:\s+\d+)?\s*")
_MARKUP = re.compile(r"[`*_#>\[\]|~\\]+")


def title_of(prompt: str) -> str | None:
    """Return a title of the prompt's first words, without markup and a leading ``/command``; None without any word."""
    prompt = prompt[:_READ_CHARS]
    text = _COMMAND.sub("", prompt, count=1) or prompt
    whole = text.encode("utf-8", "replace").decode()  # SQLite refuses a lone surrogate
    title = ""
    for word in _MARKUP.sub(" ", whole).split():
        if title and len(title) + len(word) + 1 > MADE_TITLE_CHARS:
            return title + " …"
        title = f"{title} {word}" if title else word
    return (title if len(title) <= MADE_TITLE_CHARS else title[: MADE_TITLE_CHARS - 1] + "…") or None


def bounded_title(text: str) -> str:
    """Return a text with single spaces, cut to the length of a title."""
    title = " ".join(text.encode("utf-8", "replace").decode().split())
    return title if len(title) <= MAX_TITLE_CHARS else title[: MAX_TITLE_CHARS - 1] + "…"


async def save_titled(
    conversations: ConversationStore,
    session_id: str,
    chat: ChatHistory,
    *,
    owner: str | None = None,
    title: str | None = None,
) -> None:
    """Save a conversation; a session that is new gets ``owner`` and ``title``, by default one of its first words.

    A store that knows no sessions only saves.
    """
    if isinstance(conversations, SessionStore):
        await conversations.save(session_id, chat, owner=owner, title=title or _first_words(chat))
    else:
        await conversations.save(session_id, chat)


def _first_words(chat: ChatHistory) -> str | None:
    if chat.is_partial or not chat.tree.root_ids:
        return None  # a conversation of which there is more is not new
    root = chat.tree.get(chat.tree.root_ids[0])
    return title_of(" ".join(texts_of(root.message.get("content")))) if root is not None else None
