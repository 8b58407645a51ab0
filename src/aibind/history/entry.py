"""The nodes of a tree, each kept as the JSON text that it is saved as.

A node never changes, apart from the list of its children. Its text is therefore encoded once, when the node is created
or read, and saving a conversation only joins texts. Every access to a message decodes that text, which makes it a copy
and guarantees that a message reads the same before and after a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from ..errors import HistoryError, MalformedTreeError
from .json import decode_at, encode, encode_object, quote
from .node import Message, TreeNode

__all__ = ["Entry", "entry_from_data", "is_id_list", "new_entry", "now"]

_MESSAGE = ',"message":'
_METADATA = '],"metadata":'
_CREATED_AT = ',"createdAt":'


class Entry:
    """One node: ``head`` is its JSON text before the children's ids, ``tail`` the text after them.

    Together they are a member of the saved tree's ``nodes``, from ``"ID":{"id":"ID","message":`` to ``}``, exactly as
    ``JSON.stringify`` prints it.
    """

    __slots__ = ("children", "head", "id", "parent_id", "tail")

    def __init__(self, node_id: str, parent_id: str | None, children: list[str], head: str, tail: str) -> None:
        self.id = node_id
        self.parent_id = parent_id
        self.children = children
        self.head = head
        self.tail = tail

    @property
    def text(self) -> str:
        """The node as JSON, a member of the saved tree's ``nodes``, without its children."""
        return self.head + self.tail

    @property
    def message(self) -> Message:
        """The message, decoded."""
        # Quotation marks inside a JSON string are escaped, so no id can contain this mark.
        message: Message = self._decode(self.head, self.head.index(_MESSAGE) + len(_MESSAGE))[0]
        return message

    def to_node(self) -> TreeNode:
        """Return the copy that callers get."""
        metadata, end = self._decode(self.tail, len(_METADATA))
        created_at, _ = self._decode(self.tail, end + len(_CREATED_AT))
        return TreeNode(self.id, self.message, self.parent_id, tuple(self.children), metadata, created_at)

    def without_children(self) -> Entry:
        """Return the same node for another tree, with no children yet."""
        return Entry(self.id, self.parent_id, [], self.head, self.tail)

    def is_same_as(self, other: Entry) -> bool:
        """Return whether both are the same node, regardless of their children and of when each was created.

        Two processes may recover one answer, under one id.
        """
        if self.head != other.head:
            return False
        return self.tail == other.tail or self._tail_without_time() == other._tail_without_time()

    def _tail_without_time(self) -> tuple[str, str]:
        _, begin = self._decode(self.tail, len(_METADATA))
        _, end = self._decode(self.tail, begin + len(_CREATED_AT))
        return self.tail[:begin], self.tail[end:]

    def _decode(self, text: str, position: int) -> tuple[Any, int]:
        try:
            return decode_at(text, position)
        except ValueError as error:  # it was valid when it was added: only the stack can be too short here
            raise HistoryError(f'MessageTree: node "{self.id}" cannot be read: {error}') from error


def new_entry(node_id: str, parent_id: str | None, message_json: str, metadata_json: str) -> Entry:
    """Return a node created now, from JSON that :func:`~aibind.history.json.encode_object` wrote."""
    return _entry(node_id, parent_id, [], message_json, metadata_json, f'"{now()}"')


def now() -> str:
    """Return the time as JavaScript's ``toISOString`` prints it: UTC, in milliseconds, with a Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entry_from_data(key: str, data: Any) -> Entry:
    """Return a node from decoded JSON, the member ``key`` of ``nodes``.

    Unknown fields are kept, and saved again after the known ones. Raises MalformedTreeError for a missing field, a
    field of the wrong type, and an id other than ``key``. :func:`~aibind.history.links.check_links` checks the links.
    """
    node = _checked(key, data)
    try:
        message_json = encode_object(node["message"], "message")
        metadata_json = encode_object(node["metadata"], "metadata")
        end = quote(node["createdAt"])
        for name in node:
            if name not in _FIELDS:
                end += f",{quote(name)}:{encode(node[name], name)}"
    except HistoryError as error:
        raise _malformed(key, f"cannot be kept: {error}") from error
    return _entry(key, node["parentId"], node["children"], message_json, metadata_json, end)


def _checked(key: str, data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _malformed(key, "is not an object")
    node = cast("dict[str, Any]", data)
    for name, (type_name, is_valid) in _FIELDS.items():
        if name not in node:
            raise _malformed(key, f"has no {name}")
        if not is_valid(node[name]):
            raise _malformed(key, f"has {name} that is not {type_name}")
    if node["id"] != key:
        raise _malformed(key, f'has the id "{node["id"]}"')
    return node


def _malformed(key: str, problem: str) -> MalformedTreeError:
    return MalformedTreeError(f'MessageTree: node "{key}" {problem}')


def is_id_list(value: Any) -> bool:
    """Return whether a decoded JSON value is an array of strings."""
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value))


_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "id": ("a string", lambda value: isinstance(value, str)),
    "message": ("an object", lambda value: isinstance(value, dict)),
    "parentId": ("a string or null", lambda value: value is None or isinstance(value, str)),
    "children": ("an array of strings", is_id_list),
    "metadata": ("an object", lambda value: isinstance(value, dict)),
    "createdAt": ("a string", lambda value: isinstance(value, str)),
}


def _entry(
    node_id: str, parent_id: str | None, children: list[str], message_json: str, metadata_json: str, end: str
) -> Entry:
    quoted = quote(node_id)
    parent = "null" if parent_id is None else quote(parent_id)
    head = f'{quoted}:{{"id":{quoted}{_MESSAGE}{message_json},"parentId":{parent},"children":['
    return Entry(node_id, parent_id, children, head, f"{_METADATA}{metadata_json}{_CREATED_AT}{end}}}")
