"""A reader of saved trees that keeps the text of most nodes without decoding it.

Nearly every node of a chat is a role, a text and at most one string of metadata, or what a turn keeps of its stream and
its cost, printed by ``JSON.stringify`` or by aibind. One regular expression matches that shape, in exactly the form
that aibind writes, so that the text can be kept undecoded. A node that does not match is decoded, checked and encoded
again, with the same result, only slower.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import HistoryError, MalformedTreeError
from .entry import Entry, entry_from_data, is_id_list
from .json import decode_at, encode, quote

__all__ = ["SavedTree", "read_nodes", "read_tree"]

# _PLAIN: characters that need no escape in a JSON string; ids and dates of the known shape hold no others. _STRING: a
# string escaped exactly as JSON.stringify does it, except that it has no lone surrogates.
_PLAIN = r'[^"\\\x00-\x1f\ud800-\udfff]*+'
_STRING = rf'"{_PLAIN}(?:\\(?:["\\bfnrt]|u00(?:0[0-7be-f]|1[0-9a-f])){_PLAIN})*+"'
_COUNT = r"(?:0|[1-9][0-9]{0,14}+)"
_METADATA = (
    rf'\{{(?:"streamId":{_STRING}(?:,"finish":{_STRING})?(?:,"finishReason":{_STRING})?'
    rf'(?:,"usage":\{{"inputTokens":{_COUNT},"outputTokens":{_COUNT}\}})?|{_STRING}:{_STRING})?\}}'
)
_NODE = re.compile(
    rf'(?P<head>"(?P<id>{_PLAIN})":\{{"id":"(?P=id)","message":\{{"role":{_STRING},"content":{_STRING}\}},'
    rf'"parentId":(?:null|"(?P<parent>{_PLAIN})"),"children":\[)(?P<children>(?:"{_PLAIN}"(?:,"{_PLAIN}")*+)?)'
    rf'(?P<tail>\],"metadata":{_METADATA},"createdAt":"{_PLAIN}"\}})'
)
_SPACE = re.compile(r"[ \t\n\r]*+")


@dataclass(frozen=True, slots=True)
class SavedTree:
    """The parts of a saved tree, whose links have not been checked yet.

    ``unknown`` is the JSON text of the members that this version does not know, to be saved again: ``,"title":"…"``.
    """

    entries: dict[str, Entry]
    root_ids: list[str]
    active_leaf_id: str | None
    unknown: str


def read_tree(text: str) -> SavedTree:
    """Read a saved tree. Raises MalformedTreeError when the text is not JSON, or not that of a tree."""
    if not isinstance(text, str):
        raise MalformedTreeError(f"MessageTree: a saved tree is a str, not {type(text).__name__}")
    return _Reader(text).tree()


def read_nodes(texts: Iterable[str]) -> dict[str, Entry]:
    """Read nodes that were saved one by one. Raises MalformedTreeError as :func:`read_tree` does."""
    reader = _Reader(f"{{{','.join(texts)}}}")
    entries = reader.nodes()
    reader.ends()
    return entries


class _Reader:
    """A parser of one text; ``position`` is where the next token begins, or the whitespace before it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def tree(self) -> SavedTree:
        if self.peek() != "{":
            self.value()
            raise MalformedTreeError("MessageTree: a saved tree is a JSON object, and this is another kind of value")
        members: dict[str, Any] = {}
        more = self.opens()
        while more:
            key = self.key()
            if key in members:
                raise MalformedTreeError(f'MessageTree: "{key}" is there twice')
            members[key] = self.nodes() if key == "nodes" and self.peek() == "{" else self.value()
            if key == "version":
                _check_version(members[key])  # before the nodes, which another version may write differently
            more = self.more()
        self.ends()
        return _saved_tree(members)

    def nodes(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        more = self.opens()
        while more:
            entry = self.known_node() or entry_from_data(self.key(), self.value())
            if entry.id in entries:
                raise MalformedTreeError(f'MessageTree: node "{entry.id}" is there twice')
            entries[entry.id] = entry
            more = self.more()
        return entries

    def known_node(self) -> Entry | None:
        """Consume the next member of ``nodes`` if it has the known shape."""
        match = _NODE.match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        head, node_id, parent_id, children, tail = match.groups()
        return Entry(node_id, parent_id, children[1:-1].split('","') if children else [], head, tail)

    def opens(self) -> bool:
        """Enter the object that begins here; return False, after consuming it, when it is empty."""
        self.position += 1
        if self.peek() != "}":
            return True
        self.position += 1
        return False

    def ends(self) -> None:
        """Refuse anything but whitespace after the value."""
        if self.peek():
            raise self.unexpected("the end of the text")

    def more(self) -> bool:
        """Consume what follows a member, and return whether that was a comma and not the end of the object."""
        mark = self.peek()
        if mark not in {",", "}"}:
            raise self.unexpected("a comma or the end of an object")
        self.position += 1
        return mark == ","

    def key(self) -> str:
        if self.peek() != '"':
            raise self.unexpected("a name in quotation marks")
        key: str = self.value()
        if self.peek() != ":":
            raise self.unexpected("a colon")
        self.position += 1
        return key

    def value(self) -> Any:
        self.peek()
        try:
            value, self.position = decode_at(self.text, self.position)
        except ValueError as error:
            raise MalformedTreeError(f"MessageTree: this is not JSON: {error}") from error
        return value

    def peek(self) -> str:
        """Skip whitespace and return the next character; an empty string at the end."""
        character = self.text[self.position : self.position + 1]
        if character > " ":  # nearly always, and cheaper than the regular expression
            return character
        if space := _SPACE.match(self.text, self.position):
            self.position = space.end()
        return self.text[self.position : self.position + 1]

    def unexpected(self, expected: str) -> MalformedTreeError:
        return MalformedTreeError(f"MessageTree: this is not JSON: expected {expected} at character {self.position}")


def _saved_tree(members: dict[str, Any]) -> SavedTree:
    for name, (type_name, is_valid) in _MEMBERS.items():
        if name not in members:
            raise MalformedTreeError(f'MessageTree: "{name}" is missing')
        if not is_valid(members[name]):
            raise MalformedTreeError(f'MessageTree: "{name}" must be {type_name}')
    try:
        unknown = "".join(
            f",{quote(name)}:{encode(value, name)}" for name, value in members.items() if name not in _MEMBERS
        )
    except HistoryError as error:
        raise MalformedTreeError(f"MessageTree: {error}") from error
    return SavedTree(members["nodes"], members["rootIds"], members["activeLeafId"], unknown)


_MEMBERS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "version": ("1", lambda _: True),  # checked where it is read
    "nodes": ("an object", lambda value: isinstance(value, dict)),
    "rootIds": ("an array of strings", is_id_list),
    "activeLeafId": ("a string or null", lambda value: value is None or isinstance(value, str)),
}


def _check_version(version: Any) -> None:
    # In Python, unlike in JSON, True equals 1.
    if isinstance(version, bool) or version != 1:
        raise MalformedTreeError(f"MessageTree: unsupported version {version!r}")
