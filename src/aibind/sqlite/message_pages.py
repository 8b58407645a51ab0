"""Pages of a conversation, read upwards along a path and on above summaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from .._time import earliest_ms
from ..conversations.sessions import MessagePage, StoredMessage
from ..history.reader import read_nodes
from .client import SqliteClient, SqliteRow
from .message_rows import id_of, key_of, session_of, texts_of
from .message_sql import MessageSql

__all__ = ["read_page"]


async def read_page(
    client: SqliteClient, sql: MessageSql, session_id: str, before: str | None, limit: int
) -> MessagePage | None:
    """Return a page of a session; see :meth:`SqliteMessageStore.read_page`."""
    skipped = 0 if before is None else 1  # the path begins with that message
    wanted = limit + skipped + 1  # one more tells whether there is anything above
    path = sql.path(session_id, None if before is None else key_of(before), wanted)
    sessions, found = await client.batch([sql.find_session(session_id, earliest_ms()), path])
    if not sessions.rows:
        return None
    segments = [_Segment(found.rows)]
    while (summarized := segments[-1].summarized) is not None:
        left = wanted - sum(len(segment.messages) for segment in segments)
        if left <= 0:
            break
        above = sql.path(session_id, summarized, left)
        segments.append(_Segment((await client.execute(above.sql, above.args)).rows))
    alternatives = await _alternatives(client, sql, session_id, segments)
    # From the oldest segment to the newest; each has its newest message first.
    messages = [
        _stored(first, text, alternatives)
        for segment in reversed(segments)
        for first, text in reversed(segment.messages)
    ]
    messages = messages[: len(messages) - skipped]
    page = messages[-limit:]
    has_more = len(messages) > len(page)
    return MessagePage(session_of(sessions.rows[0]), tuple(page), page[0].id if has_more else None)


class _Segment:
    """A part of a path that no summary interrupts, newest message first."""

    def __init__(self, rows: Sequence[SqliteRow]) -> None:
        self.rows = rows
        self.messages = list(texts_of(rows))

    @property
    def summarized(self) -> str | None:
        """The key of the message that the summary at the top stands for, with those above it."""
        return cast("str | None", self.rows[-1]["replaces"]) if self.rows else None

    @property
    def root(self) -> str | None:
        """The key of the message at the top when nothing is above it."""
        return cast("str", self.rows[-1]["id"]) if self.rows and self.rows[-1]["parent_id"] is None else None


async def _alternatives(
    client: SqliteClient, sql: MessageSql, session_id: str, segments: Sequence[_Segment]
) -> dict[str, tuple[str, ...]]:
    """Return the ids of the alternatives of each message of the segments, by its key."""
    parents = {
        cast("str", row["id"]): cast("str | None", row["parent_id"]) for segment in segments for row in segment.rows
    }
    statements = [sql.children(session_id, sorted({parent for parent in parents.values() if parent is not None}))]
    roots = [segment.root for segment in segments if segment.root is not None]
    if roots:
        statements += [sql.roots(session_id), sql.current_root(session_id)]
    children, *rest = await client.batch(statements)
    by_parent: dict[str, list[str]] = {}
    for row in children.rows:
        by_parent.setdefault(cast("str", row["parent_id"]), []).append(id_of(cast("str", row["id"])))
    found = {key: tuple(by_parent.get(parent, ())) for key, parent in parents.items() if parent is not None}
    for root in roots:
        found[root] = _root_alternatives(rest[0].rows, root, [row["id"] for row in rest[1].rows])
    return found


def _root_alternatives(rows: Sequence[SqliteRow], root: str, current: Sequence[object]) -> tuple[str, ...]:
    is_current = {row["id"] for row in rows if row["is_current"]}.union(current)
    siblings = [row for row in rows if row["id"] in is_current] if root in is_current else _former_roots(rows, root)
    in_place = sorted(siblings, key=lambda row: (row["place"], row["seq"]))
    return tuple(id_of(cast("str", row["id"])) for row in in_place)


def _former_roots(rows: Iterable[SqliteRow], root: str) -> list[SqliteRow]:
    """Return the roots that the same summary replaced: those between two summaries."""
    generation: list[SqliteRow] = []
    for row in rows:
        if row["replaces"] is not None:
            if any(other["id"] == root for other in generation):
                break
            generation = []
        generation.append(row)
    return generation


def _stored(row: SqliteRow, text: str, alternatives: Mapping[str, tuple[str, ...]]) -> StoredMessage:
    (entry,) = read_nodes([text]).values()
    node = entry.to_node()
    replaces = row["replaces"]
    return StoredMessage(
        node.id,
        node.parent_id,
        node.message,
        node.metadata,
        node.created_at,
        alternatives[cast("str", row["id"])],
        None if replaces is None else id_of(cast("str", replaces)),
    )
