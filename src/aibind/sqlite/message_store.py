"""Conversations in SQLite, a row for each message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from .._offload import offload
from .._time import earliest_ms, latest_ms, now_ms
from ..conversations.files import StoredFile
from ..conversations.sessions import MessagePage, SessionInfo
from ..errors import ConversationConflictError, CorruptConversationError, MalformedTreeError
from ..history import ChatHistory, MessageTree
from ..history.changes import TreeChanges
from .client import SqliteClient, SqliteResult, SqliteRow, Statement, WatchableSqliteClient
from .file_sql import FileSql
from .file_tables import FileTables, file_rows
from .message_pages import read_page
from .message_rows import id_of, key_of, nodes_of, rows_of, session_of
from .message_sql import MAX_SWEPT_SESSIONS, MessageSql, SessionChange
from .schema import FILES_TABLE, MESSAGE_FILES_TABLE, MESSAGES_TABLE, SESSIONS_TABLE
from .search import MessageSearch, SearchHit

__all__ = ["SqliteMessageStore"]

_REMOTE_PAGE_ROWS = 500
"""Rows of messages in one answer of a remote database, which limits the size of an answer."""

_LOCAL_PAGE_ROWS = 1_000_000

_LARGE_ROWS = 500
"""Rows from which on they are made, and put together, in a thread."""

_MAX_READS = 5


@dataclass(frozen=True, slots=True)
class _Origin:
    """A session in the tables of a database: what a chat was loaded from or saved to."""

    client: SqliteClient
    tables: tuple[str, str]
    session_id: str


class SqliteMessageStore:
    """A conversation store that keeps a row for each message and one for each session.

    Messages never change, so a save inserts those that are new and moves the end of the current path, in one
    transaction. Several processes may therefore save one conversation at the same time without losing a turn: what each
    of them added is there, as alternatives where they continued from the same message, and the current path is that of
    the last save that moved it. A chat remembers what it was loaded with (see :meth:`MessageTree.unsaved`), so that a
    turn costs the same statements, rows and bytes in a conversation of any length. A chat that was loaded from another
    store, or made from JSON, is saved whole the first time.

    Removing a message deletes its row, unless another process continued from it meanwhile. ``ChatHistory.compact``
    keeps the rows of the messages that the summary replaces, which are no longer loaded.

    Files are stored apart from the messages that refer to them, see :class:`~aibind.conversations.FileStore`, and
    deleted in the transaction that deletes the last of these messages.

    ``ttl_ms`` is the time to live after the last save, in milliseconds; None, the default, keeps conversations until
    they are deleted. An expired conversation reads as absent until :meth:`cleanup` removes it; a save before that adds
    to it. The tables are made by :func:`aibind.sqlite.migrate`.

    Raises ValueError for an invalid table name and a ``ttl_ms`` that is not positive. Every method also raises the
    ``Sqlite…`` errors of its client.
    """

    def __init__(
        self,
        client: SqliteClient,
        *,
        sessions_table: str = SESSIONS_TABLE,
        messages_table: str = MESSAGES_TABLE,
        files_table: str = FILES_TABLE,
        message_files_table: str = MESSAGE_FILES_TABLE,
        ttl_ms: int | None = None,
    ) -> None:
        if ttl_ms is not None and not ttl_ms > 0:
            raise ValueError(f"ttl_ms must be positive, or None to keep conversations, not {ttl_ms}")
        self._client = client
        self._tables = sessions_table, messages_table
        self._sql = MessageSql(sessions_table, messages_table, files_table)
        self._file_sql = FileSql(files_table, message_files_table, sessions_table, messages_table)
        self._files = FileTables(client, self._file_sql)
        self._ttl_ms = ttl_ms
        self._search = MessageSearch(client, sessions_table, messages_table)
        self._page_rows = _LOCAL_PAGE_ROWS if isinstance(client, WatchableSqliteClient) else _REMOTE_PAGE_ROWS

    def __repr__(self) -> str:
        sessions, messages = self._tables
        return f"<SqliteMessageStore sessions={sessions!r} messages={messages!r} client={self._client!r}>"

    async def load(self, session_id: str, *, limit: int | None = None, leaf_id: str | None = None) -> ChatHistory:
        """Return the conversation of a session; an empty one when the session is unknown or has expired.

        With ``limit`` only that many messages are read, at a cost that does not depend on the conversation's length:
        those at the end of the path to ``leaf_id`` (None: the current path), and the messages below that one. The chat
        is partial then, see :attr:`ChatHistory.is_partial`.

        Raises CorruptConversationError when its rows are not those of a conversation; they are left unchanged. Raises
        ValueError for a ``limit`` below 1.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"limit is {limit}: give 1 or more, or None for the whole conversation")
        for attempt in range(_MAX_READS):
            try:
                if limit is not None:
                    return await self._load_path(session_id, limit, leaf_id)
                return await self._load(session_id)
            except MalformedTreeError as error:
                # Rows that were removed while pages were read can leave others without what was above them.
                if attempt == _MAX_READS - 1:
                    raise self._corrupt(session_id, error) from error
        raise AssertionError("the loop above returns or raises")

    async def save(
        self, session_id: str, chat: ChatHistory, *, owner: str | None = None, title: str | None = None
    ) -> None:
        """Store what the chat has and the session lacks, in one transaction, and restart the time to live.

        ``owner`` and ``title`` are recorded when the session is new. When another process has removed messages that the
        new ones are below, or deleted the session, they come back with the new ones. Raises ConversationConflictError,
        and stores nothing, when they cannot: the chat was loaded in part, or files that they refer to were deleted.
        """
        tree = chat.tree
        origin = _Origin(self._client, self._tables, session_id)
        changes = tree.unsaved(origin)
        if changes.is_empty and changes.mark and self._ttl_ms is None:
            return
        next_seq = await self._save(session_id, tree, changes, owner, title)
        if next_seq is None:
            # What the new messages are below was removed by another process: it comes back, since they need it.
            if tree.is_partial:
                raise ConversationConflictError(
                    f'What was to be continued in conversation "{session_id}" was removed by another process. '
                    "Nothing was written: load the conversation, and try again",
                    session_id,
                )
            new_ids = {entry.id for entry in changes.added}
            changes = tree.unsaved(origin, whole=True)
            # Only files of new messages were put for this save; those of the others may have gone with them.
            files = {row.sha256 for row in file_rows(entry for entry in changes.added if entry.id not in new_ids)}
            next_seq = await self._save(session_id, tree, changes, owner, title, sorted(files))
            if next_seq is None:
                raise ConversationConflictError(
                    f'What was to be continued in conversation "{session_id}" was deleted by another process, and so '
                    "were its files. Nothing was written: load the conversation, and try again",
                    session_id,
                )
        # Messages that others added in between are not among those that a summary of this chat would replace.
        is_alone = next_seq == changes.mark + len(changes.added)
        tree.mark_saved(origin, changes, next_seq if is_alone else changes.mark)
        if changes.removed:
            await self._search.forget_messages(session_id, [key_of(node_id) for node_id in changes.removed])

    async def list_sessions(
        self, *, owner: str | None = None, limit: int = 50, before: SessionInfo | None = None
    ) -> list[SessionInfo]:
        """Return the sessions of an ``owner`` (None: all sessions), most recently saved first.

        For the next page, pass the last session of the page before as ``before``. Raises ValueError for a ``limit``
        below 1.
        """
        if limit < 1:
            raise ValueError(f"limit is {limit}: give 1 or more")
        place = (before.updated_at, before.session_id) if before is not None else None
        rows = (await self._execute(self._sql.sessions(earliest_ms(), owner, place, limit))).rows
        return [session_of(row) for row in rows]

    async def find_session(self, session_id: str) -> SessionInfo | None:
        """Return a session without its messages; None when it is unknown or has expired."""
        rows = (await self._execute(self._sql.find_session(session_id, earliest_ms()))).rows
        return session_of(rows[0]) if rows else None

    async def read_page(self, session_id: str, *, before: str | None = None, limit: int = 50) -> MessagePage | None:
        """Return the last ``limit`` messages of the current path; None when the session is unknown or has expired.

        With ``before`` they are those above the message with this id, on any path. A page goes on above a summary with
        what the summary replaced. Raises ValueError for a ``limit`` below 1, and CorruptConversationError as
        :meth:`load` does. For an unknown ``before`` the page is empty.
        """
        if limit < 1:
            raise ValueError(f"limit is {limit}: give 1 or more")
        try:
            return await read_page(self._client, self._sql, session_id, before, limit)
        except MalformedTreeError as error:
            raise self._corrupt(session_id, error) from error

    async def select(self, session_id: str, message_id: str) -> str | None:
        """Make the branch of a message the current path, and return the id of the message that it ends with.

        Below the message the path goes on along first children, as :meth:`ChatHistory.next_alternative` does. Returns
        None when the session or the message is unknown.
        """
        rows = (await self._execute(self._sql.select(session_id, key_of(message_id), earliest_ms()))).rows
        return id_of(cast("str", rows[0]["active_leaf_id"])) if rows else None

    async def search(
        self, query: str, *, owner: str | None = None, session_id: str | None = None, limit: int = 20
    ) -> list[SearchHit]:
        """Return the messages that contain every term of a query, newest first.

        Terms are what stands between spaces. Each may be anywhere in the message, also inside a word; case, accents and
        punctuation are ignored, and nothing in a query is an operator. The first 16 terms count, and the first 64
        characters of each. A query without letters, digits and symbols finds nothing. ``owner`` and ``session_id``
        limit the search to an owner's sessions and to one session.

        A search first indexes what was saved in these sessions since the last one; the tables for that are made by the
        first. Raises ValueError for a ``limit`` below 1.
        """
        if limit < 1:
            raise ValueError(f"limit is {limit}: give 1 or more")
        return await self._search.search(query, owner, session_id, limit)

    async def rename(self, session_id: str, title: str | None) -> bool:
        """Change the title of a session, and return False when it is unknown or has expired."""
        return bool((await self._execute(self._sql.rename(session_id, title, earliest_ms()))).rows)

    async def delete(self, session_id: str) -> None:
        """Delete a conversation; an unknown one is not an error."""
        await self._client.batch([*self._file_sql.delete(session_id), *self._sql.delete(session_id)])
        await self._search.forget(session_id)

    async def put_files(self, session_id: str, message_id: str, files: Sequence[StoredFile]) -> None:
        """Store the files of a message that is about to be saved, each once for all messages that refer to it.

        Two round trips, when none of them is longer than 1 MB. They are kept for an hour without the message; after
        that, :meth:`cleanup` deletes them.
        """
        await self._files.put(session_id, message_id, files)

    async def read_files(self, session_id: str, sha256s: Sequence[str]) -> dict[str, bytes]:
        """Return the bytes of files by their SHA-256: those that are stored, and that the session refers to."""
        return await self._files.read(session_id, sha256s)

    async def find_file(self, session_id: str, sha256: str) -> StoredFile | None:
        """Return a file that the session refers to; None when it does not, or when the session has expired."""
        return await self._files.find(session_id, sha256)

    async def cleanup(self) -> int:
        """Remove the conversations that have expired and return their number.

        Files whose messages were never saved go as well.
        """
        now = earliest_ms()
        removed = 0
        await self._files.sweep()
        while True:
            statements = [*self._file_sql.remove_expired(now), *self._sql.remove_expired(now)]
            count = len((await self._client.batch(statements))[-1].rows)
            removed += count
            if count < MAX_SWEPT_SESSIONS:
                break
        await self._search.forget(None)
        return removed

    # --- loading ---

    async def _load(self, session_id: str) -> ChatHistory:
        sessions, page = await self._client.batch(self._sql.load(session_id, earliest_ms(), self._page_rows))
        if not sessions.rows:
            return ChatHistory()
        rows = list(page.rows)
        while len(page.rows) == self._page_rows:
            last = page.rows[-1]
            page = await self._execute(
                self._sql.page(session_id, cast("str", last["id"]), cast("int", last["part"]), self._page_rows)
            )
            rows += page.rows
        session = sessions.rows[0]
        leaf = cast("str | None", session["active_leaf_id"])
        missing = await offload(lambda: _missing_above(rows, leaf), len(rows) > _LARGE_ROWS)
        if missing:
            found = {row["id"] for row in rows}
            above = (await self._execute(self._sql.above(session_id, missing))).rows
            rows += [row for row in above if row["id"] not in found]
        return await offload(lambda: self._restore(session_id, session, rows), len(rows) > _LARGE_ROWS)

    async def _load_path(self, session_id: str, limit: int, leaf_id: str | None) -> ChatHistory:
        key = None if leaf_id is None else key_of(leaf_id)
        first = min(limit, self._page_rows)
        sessions, path, children = await self._client.batch(self._sql.load_path(session_id, earliest_ms(), key, first))
        if not sessions.rows:
            return ChatHistory()
        rows = path.rows
        left = limit - first
        while left and path.rows and path.rows[-1]["parent_id"] is not None:
            count = min(left, self._page_rows)
            path = await self._execute(self._sql.path(session_id, cast("str", path.rows[-1]["parent_id"]), count))
            rows += path.rows
            left -= count
        rows = [*rows, *children.rows]
        session = sessions.rows[0]
        return await offload(lambda: self._restore(session_id, session, rows, partial=True), len(rows) > _LARGE_ROWS)

    def _restore(
        self, session_id: str, session: SqliteRow, rows: list[SqliteRow], *, partial: bool = False
    ) -> ChatHistory:
        leaf = cast("str | None", session["active_leaf_id"])
        tree = MessageTree.restore(
            nodes_of(rows),
            None if leaf is None else id_of(leaf),
            cast("str", session["unknown"]),
            origin=_Origin(self._client, self._tables, session_id),
            mark=cast("int", session["next_seq"]),
            partial=partial,
        )
        return ChatHistory.from_tree(tree)

    def _corrupt(self, session_id: str, error: MalformedTreeError) -> CorruptConversationError:
        return CorruptConversationError(
            f'Conversation "{session_id}" in table "{self._tables[1]}" cannot be read: {error}. '
            "It was left as it is: repair it, or delete it to start over",
            session_id,
        )

    # --- saving ---

    async def _save(
        self,
        session_id: str,
        tree: MessageTree,
        changes: TreeChanges,
        owner: str | None,
        title: str | None,
        required_files: Sequence[str] = (),
    ) -> int | None:
        """Store changes, and return the next seq.

        Returns None, and nothing is stored, when what they are below is missing, or one of ``required_files``.
        """
        statements = await offload(
            lambda: self._statements(session_id, tree, changes, owner, title, required_files),
            len(changes.added) > _LARGE_ROWS,
        )
        results = await self._client.batch(statements)
        return cast("int", results[0].rows[0]["next_seq"]) if results[0].rows else None

    def _statements(
        self,
        session_id: str,
        tree: MessageTree,
        changes: TreeChanges,
        owner: str | None,
        title: str | None,
        required_files: Sequence[str],
    ) -> list[Statement]:
        added = {entry.id for entry in changes.added}
        required = {entry.parent_id for entry in changes.added if entry.parent_id is not None} - added
        leaf = changes.active_leaf_id
        moves = leaf != changes.stored_leaf_id or bool(changes.removed)
        if moves and leaf is not None and leaf not in added:
            required.add(leaf)
        now = now_ms()
        change = SessionChange(
            session_id=session_id,
            owner=owner,
            title=title,
            active_leaf_id=None if leaf is None else key_of(leaf),
            moves=moves,
            adds_leaf=leaf in added,
            added=len(changes.added),
            floor_seq=changes.mark if changes.compacted else 0,
            unknown=tree.unknown,
            now=now,
            expires_at=None if self._ttl_ms is None else latest_ms() + self._ttl_ms,
            required=sorted(map(key_of, required)),
            required_files=required_files,
        )
        removed = [key_of(node_id) for node_id in changes.removed]
        statements = self._sql.save(change, rows_of(tree, changes), removed)
        return [
            *statements,
            *self._file_sql.save(session_id, file_rows(changes.added)),
            *self._file_sql.remove(session_id, removed),
        ]

    async def _execute(self, statement: Statement) -> SqliteResult:
        return await self._client.execute(statement.sql, statement.args)


def _missing_above(rows: Sequence[SqliteRow], leaf: str | None) -> list[str]:
    """Return the ids of messages that rows need above them and that a summary has replaced."""
    found = {cast("str", row["id"]) for row in rows}
    needed = {cast("str", row["parent_id"]) for row in rows if row["parent_id"] is not None}
    if leaf is not None:
        needed.add(leaf)
    return sorted(needed - found)
