"""The rows of messages: made from the nodes of a tree, and put together again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import cast

from ..conversations.sessions import SessionInfo
from ..history import MessageTree
from ..history.changes import TreeChanges
from ..history.entry import Entry
from ..history.json import decode_at, quote
from .client import SqliteRow
from .message_sql import MAX_PART_CHARS, MessageRow

__all__ = ["id_of", "key_of", "nodes_of", "rows_of", "session_of", "texts_of"]


def rows_of(tree: MessageTree, changes: TreeChanges) -> list[MessageRow]:
    """Return the rows of the messages that a save adds."""
    places = _places(tree, changes.added)
    replaces = changes.stored_leaf_id if changes.compacted else None
    rows: list[MessageRow] = []
    for seq, entry in enumerate(changes.added):
        text = entry.text
        parent = None if entry.parent_id is None else key_of(entry.parent_id)
        stands_for = None if replaces is None or entry.parent_id is not None else key_of(replaces)
        for part, start in enumerate(range(0, len(text), MAX_PART_CHARS)):
            data = text[start : start + MAX_PART_CHARS]
            rows.append(MessageRow(key_of(entry.id), part, seq, places.get(entry.id, seq), parent, stands_for, data))
    return rows


def _places(tree: MessageTree, added: Sequence[Entry]) -> dict[str, int]:
    """Return the places of the new messages whose siblings are in another order than the messages of the tree."""
    seqs: dict[str | None, dict[str, int]] = {}
    for seq, entry in enumerate(added):
        seqs.setdefault(entry.parent_id, {})[entry.id] = seq
    places: dict[str, int] = {}
    for parent_id, siblings in seqs.items():
        if len(siblings) > 1:
            in_order = [node_id for node_id in tree.children_of(parent_id) if node_id in siblings]
            places.update(zip(in_order, sorted(siblings.values()), strict=True))
    return places


def nodes_of(rows: list[SqliteRow]) -> Iterator[tuple[str, int]]:
    """Yield the texts of messages and their places, in the order of the tree."""
    rows.sort(key=lambda row: (row["seq"], row["part"]))
    for first, text in texts_of(rows):
        yield text, cast("int", first["place"])


def texts_of(rows: Iterable[SqliteRow]) -> Iterator[tuple[SqliteRow, str]]:
    """Yield the first row of each message and its text, put together from the parts, which follow each other."""
    for _, parts in groupby(rows, key=itemgetter("id")):
        first, *others = parts
        yield first, "".join(cast("str", row["data"]) for row in (first, *others))


def session_of(row: SqliteRow) -> SessionInfo:
    """Return the session of a row with the columns of a :class:`SessionInfo`."""
    leaf = row["active_leaf_id"]
    fields = {**row, "active_leaf_id": None if leaf is None else id_of(cast("str", leaf))}
    return SessionInfo(**fields)  # type: ignore[arg-type]


def key_of(node_id: str) -> str:
    """Return a message's id as the table has it: escaped, since SQLite has no NUL in JSON and no lone surrogates."""
    return quote(node_id)[1:-1]


def id_of(key: str) -> str:
    """Return the id of a message from its key in the table."""
    node_id: str = decode_at(f'"{key}"', 0)[0]
    return node_id
