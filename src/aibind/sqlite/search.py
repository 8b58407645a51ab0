"""Search over the messages of the message tables.

The index is beside the tables and follows them: a search first adds what was saved since the last one. Saving a message
therefore costs the same with and without searches, and what the index lags behind is never returned wrongly, since
every match is joined with the rows that are there.
"""

from __future__ import annotations

import contextlib
from binascii import crc32
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple, cast

from .._json import is_object
from .._time import earliest_ms, sleep
from ..errors import SqliteError, SqliteSchemaError
from ..history.json import decode_at
from .client import SqliteClient, SqliteResult, SqliteRow, Statement
from .message_sql import MAX_PART_CHARS
from .search_sql import Document, Filter, SearchSql
from .search_text import ANYTHING, cut, fold, grams, grams_of_term, parse, passage, text_of

__all__ = ["MessageSearch", "SearchHit"]

_MAX_PATH_MESSAGES = 500
"""New messages of one session up to which they are looked for on its current path."""

_PAGE_KEYS = 10_000

_MAX_MESSAGES = 250
"""Messages that one transaction indexes: other writers, such as running replies, wait for it about 0.1 seconds."""

_MAX_CHARS = 500_000

_MAX_CLEANED = 200
"""Messages that a search removes from the index after it found that their conversations are gone."""

_BUSY_MESSAGES = 20
"""Messages that are prepared before other tasks may run."""


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message that a search found.

    ``snippet`` is the passage around the first match, about 100 characters on one line, and ``matches`` the places of
    the terms in it: the position of the first character, and the one past the last. ``role`` is None for a message
    without one. ``created_at`` is that of the message, as in :class:`~aibind.history.TreeNode`.
    """

    session_id: str
    title: str | None
    message_id: str
    role: str | None
    snippet: str
    matches: tuple[tuple[int, int], ...]
    created_at: str


class _Pending(NamedTuple):
    """A message that is not indexed."""

    number: int
    session_id: str
    owner: str | None
    id: str
    seq: int
    size: int


@dataclass(frozen=True, slots=True)
class _Behind:
    """A session with messages that are not indexed: those from ``low`` up to ``high``."""

    number: int
    session_id: str
    owner: str | None
    low: int
    high: int


class MessageSearch:
    """The search of one pair of tables, and the index for it."""

    def __init__(self, client: SqliteClient, sessions_table: str, messages_table: str) -> None:
        self._client = client
        self._tables = sessions_table, messages_table
        self._sql = SearchSql(sessions_table, messages_table, has_fts=True)

    async def search(self, query: str, owner: str | None, session_id: str | None, limit: int) -> list[SearchHit]:
        """Bring the index up to date, and return the newest messages with all terms of a query."""
        terms = parse(query)
        if not terms:
            return []
        match = _match(terms, owner, session_id)
        wanted = limit
        while True:
            rows, stale = await self._current(terms, match, owner, session_id, wanted)
            dead = list(dict.fromkeys(cast("int", row["doc"]) for row in rows if row["data"] is None))
            if not dead:
                break
            await self._remove((await self._execute(self._sql.documents(dead))).rows)
            wanted = min(2 * wanted, limit + _MAX_CLEANED)
        if stale:
            await self._remove((await self._execute(self._sql.leftovers(stale, _MAX_CLEANED))).rows)
        return [_hit(list(parts), terms) for _, parts in islice(groupby(rows, key=itemgetter("doc")), limit)]

    async def forget(self, session_id: str | None) -> None:
        """Remove the text of a deleted session (None: of all that were deleted) from the index, if there is one."""
        try:
            found = (await self._client.batch(self._sql.gone(session_id)))[1].rows
        except SqliteSchemaError:
            return  # there was no search yet
        numbers = [cast("int", row["number"]) for row in found]
        while numbers:
            rows = (await self._execute(self._sql.leftovers(numbers, _MAX_CLEANED))).rows
            await self._remove(rows)
            if not rows:
                return

    async def forget_messages(self, session_id: str, keys: Sequence[str]) -> None:
        """Remove the texts of removed messages from the index, if there is one."""
        with contextlib.suppress(SqliteSchemaError):
            await self._remove((await self._execute(self._sql.documents_of(session_id, keys))).rows)

    async def _current(
        self, terms: Sequence[str], match: str, owner: str | None, session_id: str | None, limit: int
    ) -> tuple[list[SqliteRow], list[int]]:
        """Return the rows of hits in an index that lacks nothing, and the sessions to be removed from it."""
        is_created = False
        while True:
            try:
                among = Filter(owner, session_id, earliest_ms())
                hits = self._sql.hits(among, match, terms, limit)
                behind, stale, found = await self._client.batch([self._sql.behind(among), self._sql.stale(among), hits])
                if any(row["number"] is None for row in behind.rows) or not all(row["gone"] for row in stale.rows):
                    await self._client.batch(self._sql.enroll(among))
                elif behind.rows:
                    await self._index([_behind(row) for row in behind.rows])
                else:
                    return found.rows, [cast("int", row["number"]) for row in stale.rows]
            except SqliteSchemaError:
                if is_created:
                    raise
                await self._create()
                is_created = True

    async def _create(self) -> None:
        try:
            await self._client.batch(self._sql.create())
        except SqliteError as error:
            if "no such module" not in str(error):
                raise
            self._sql = SearchSql(*self._tables, has_fts=False)
            await self._client.batch(self._sql.create())

    # --- indexing ---

    async def _index(self, sessions: Sequence[_Behind]) -> None:
        near = [session for session in sessions if session.high - session.low <= _MAX_PATH_MESSAGES]
        found = await self._on_paths(near)
        for group in _groups(sessions, _PAGE_KEYS):
            pending: list[_Pending] = []
            for session in group:
                messages = found.get(session.number)
                pending += await self._all_of(session) if messages is None else messages
            await self._add_all(group, pending)

    async def _on_paths(self, sessions: Sequence[_Behind]) -> dict[int, list[_Pending]]:
        """Return the new messages of the sessions whose new messages are all on their current paths, by number."""
        found: dict[int, list[_Pending]] = {}
        for group in _groups(sessions, _PAGE_KEYS):
            rows = (await self._execute(self._sql.on_paths([(item.number, item.low) for item in group]))).rows
            by_place: dict[object, list[SqliteRow]] = {}
            for row in rows:
                by_place.setdefault(row["place"], []).append(row)
            for place, session in enumerate(group):
                messages = _pending(session, by_place.get(place, ()))
                if len(messages) == session.high - session.low:
                    found[session.number] = messages
        return found

    async def _all_of(self, session: _Behind) -> list[_Pending]:
        rows: list[SqliteRow] = []
        after = "", -1
        while True:
            page = await self._execute(self._sql.page(session.session_id, session.low, session.high, after, _PAGE_KEYS))
            rows += page.rows
            if len(page.rows) < _PAGE_KEYS:
                return _pending(session, rows)
            after = cast("str", rows[-1]["id"]), cast("int", rows[-1]["part"])

    async def _add_all(self, sessions: Sequence[_Behind], pending: Sequence[_Pending]) -> None:
        """Index messages in transactions of bounded size, each of which records how far it came."""
        low = {session.number: session.low for session in sessions}
        high = {session.number: session.high for session in sessions}
        last = {message.number: message.seq for message in pending}
        # All that was saved in the others was removed again.
        progress = [(number, low[number], high[number]) for number in low if number not in last]
        for chunk in self._chunks(pending):
            for number, messages in groupby(chunk, key=itemgetter(0)):
                seq = list(messages)[-1].seq
                reached = high[number] if seq == last[number] else seq + 1
                progress.append((number, low[number], reached))
                low[number] = reached
            documents = await self._read(chunk)
            await self._client.batch(self._sql.add(documents, progress, MAX_PART_CHARS))
            progress = []
        if progress:
            await self._client.batch(self._sql.add([], progress, MAX_PART_CHARS))

    def _chunks(self, pending: Sequence[_Pending]) -> Iterator[list[_Pending]]:
        chunk: list[_Pending] = []
        size = 0
        for message in pending:
            if chunk and (len(chunk) == _MAX_MESSAGES or size + message.size > _MAX_CHARS):
                yield chunk
                chunk = []
                size = 0
            chunk.append(message)
            size += message.size
        if chunk:
            yield chunk

    async def _read(self, messages: Sequence[_Pending]) -> list[Document]:
        rows = (await self._execute(self._sql.texts([(item.number, item.id, item.seq) for item in messages]))).rows
        documents: list[Document] = []
        for key, parts in groupby(rows, key=itemgetter("place")):
            message = messages[cast("int", key)]
            if key % _BUSY_MESSAGES == 0:
                await sleep(0)
            folded = fold(text_of(_node(parts).get("message")))
            if folded:
                texts = cut(folded)
                pieces = _pieces(texts, message.owner, message.session_id)
                documents.append(Document(message.number, message.seq, message.id, texts, pieces))
        return documents

    async def _remove(self, rows: Sequence[SqliteRow]) -> None:
        """Remove indexed messages, given by all of their rows."""
        documents: list[tuple[int, int, int, str]] = []
        for doc, group in groupby(rows, key=itemgetter("doc")):
            parts = list(group)
            first = parts[0]
            texts = [cast("str", row["text"]) for row in parts]
            pieces = _pieces(texts, cast("str | None", first["owner"]), cast("str", first["session_id"]))
            documents.append((doc, cast("int", first["session"]), cast("int", first["seq"]), pieces))
        await self._client.batch(self._sql.remove(documents, MAX_PART_CHARS))

    async def _execute(self, statement: Statement) -> SqliteResult:
        return await self._client.execute(statement.sql, statement.args)


def _behind(row: SqliteRow) -> _Behind:
    return _Behind(
        cast("int", row["number"]),
        cast("str", row["session_id"]),
        cast("str | None", row["owner"]),
        cast("int", row["indexed"]),
        cast("int", row["next_seq"]),
    )


def _groups(sessions: Iterable[_Behind], max_messages: int) -> Iterator[list[_Behind]]:
    """Yield sessions in groups with about that many new messages."""
    group: list[_Behind] = []
    count = 0
    for session in sessions:
        group.append(session)
        count += session.high - session.low
        if count >= max_messages:
            yield group
            group = []
            count = 0
    if group:
        yield group


def _pending(session: _Behind, rows: Iterable[SqliteRow]) -> list[_Pending]:
    """Return the messages of which rows are given, in the order of a session."""
    sizes: dict[tuple[int, str], int] = {}
    for row in rows:
        key = cast("int", row["seq"]), cast("str", row["id"])
        if session.low <= key[0] < session.high:
            sizes[key] = sizes.get(key, 0) + cast("int", row["size"])
    return [
        _Pending(session.number, session.session_id, session.owner, node_id, seq, size)
        for (seq, node_id), size in sorted(sizes.items())
    ]


def _node(rows: Iterable[SqliteRow]) -> dict[str, Any]:
    """Return the node in the rows of a message; an empty one for what :meth:`SqliteMessageStore.load` reports."""
    text = "".join(cast("str", row["data"]) for row in rows)
    try:
        value = decode_at("{" + text + "}", 0)[0]
    except ValueError:
        return {}
    node = next(iter(value.values()), None) if is_object(value) else None
    return node if is_object(node) else {}


def _hit(parts: list[SqliteRow], terms: Sequence[str]) -> SearchHit:
    first = parts[0]
    node = _node(parts)
    message = node.get("message")
    role = message.get("role") if is_object(message) else None
    found = passage(text_of(message), terms)
    return SearchHit(
        session_id=cast("str", first["session_id"]),
        title=cast("str | None", first["title"]),
        message_id=decode_at(f'"{cast("str", first["id"])}"', 0)[0],
        role=role if isinstance(role, str) else None,
        snippet=found.text,
        matches=found.matches,
        created_at=str(node.get("createdAt", "")),
    )


def _match(terms: Sequence[str], owner: str | None, session_id: str | None) -> str:
    """Return what to look up in the index; an empty text when that would not narrow the search."""
    pieces = list(dict.fromkeys(piece for term in terms for piece in grams_of_term(term)))
    found = [_quote(token) for token in _tokens(owner, session_id)]
    if pieces:
        found.append(f"({_quote(ANYTHING)} OR ({' AND '.join(map(_quote, pieces))}))")
    return " AND ".join(found)


def _pieces(texts: Sequence[str], owner: str | None, session_id: str) -> str:
    return " ".join([*_tokens(owner, session_id), grams(texts)])


def _tokens(owner: str | None, session_id: str | None) -> list[str]:
    """Return what stands for an owner and for a session in the index, longer than any piece of a text.

    Two may share a token: the tables decide.
    """
    names = {"owner": owner, "session": session_id}
    return [f"{key}{_checksum(name):08x}" for key, name in names.items() if name is not None]


def _checksum(name: str) -> int:
    return crc32(name.encode("utf-8", "surrogatepass"))


def _quote(token: str) -> str:
    return f'"{token}"'
