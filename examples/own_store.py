"""A store of your own: conversations as one JSON file each, held to the contract that every store here passes.

python examples/own_store.py
"""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from aibind import ChatHistory, ConversationStore
from aibind.errors import CorruptConversationError, HistoryError
from aibind.testing import conversation_store_checks


class FileConversationStore:
    """Keeps each conversation in a file of its own: for one machine, and conversations that people may want to grep.

    The last save wins, as in a SqliteConversationStore.
    """

    def __init__(self, folder: Path, *, ttl_ms: int = 1_800_000) -> None:
        self._folder = folder
        self._ttl_s = ttl_ms / 1000

    async def load(self, session_id: str) -> ChatHistory:
        """Load a conversation; an empty one when the session is unknown or has expired."""
        path = self._path(session_id)
        try:
            expired = path.stat().st_mtime + self._ttl_s <= time.time()
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ChatHistory()
        try:
            return ChatHistory() if expired else ChatHistory.from_json(text)
        except HistoryError as error:
            raise CorruptConversationError(f"{path} holds no conversation: {error}", session_id) from error

    async def save(self, session_id: str, chat: ChatHistory) -> None:
        """Store the whole conversation, all of it or nothing."""
        draft = self._folder / f"{uuid4()}.draft"
        draft.write_text(chat.to_json(), encoding="utf-8")
        draft.replace(self._path(session_id))

    async def delete(self, session_id: str) -> None:
        """Forget a conversation."""
        self._path(session_id).unlink(missing_ok=True)

    def _path(self, session_id: str) -> Path:
        # A session id is any text: it must never become a path.
        return self._folder / (sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest() + ".json")


class Harness:
    """Makes stores for the checks: each a new object over the same data, as another process would have."""

    min_ttl_ms = 1

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def open(self, *, ttl_ms: int = 1_800_000) -> ConversationStore:
        """Make a store."""
        return FileConversationStore(self._folder, ttl_ms=ttl_ms)


async def main() -> None:
    for check in conversation_store_checks():
        with TemporaryDirectory() as folder:
            await check.run(Harness(Path(folder)))
        print("passed:", check.name.replace("_", " "))


if __name__ == "__main__":
    asyncio.run(main())
