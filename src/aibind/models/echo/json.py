"""Example values for a JSON Schema: the offline model's structured output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..._json import is_list, is_object
from .tokens import Dice

__all__ = ["example_value"]

_MAX_DEPTH = 4
"""The depth below which optional properties and list items are left out, so that a schema may refer to itself."""

_MAX_OPTIONAL = 1000
"""The number of values after which optional properties and list items are left out."""

_MAX_WORK = 60_000
"""The limit of what one example may cost: about one unit for each key, list item and 16 characters that are visited.

A schema of 80 bytes that refers to itself twice would otherwise be expanded without end.
"""

_FORMATS = {
    "date": "2025-03-14",
    "date-time": "2025-03-14T09:26:53Z",
    "time": "09:26:53Z",
    "duration": "PT3M14S",
    "email": "echo@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/echo",
    "url": "https://example.com/echo",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
}


def example_value(schema: Mapping[str, Any], dice: Dice, words: Sequence[str]) -> Any:
    """Return a JSON value that fits ``schema``, with texts made of ``words``.

    It honours ``type``, ``properties``, ``required``, ``items``, ``prefixItems``, ``enum``, ``const``, ``anyOf``,
    ``oneOf``, ``allOf``, local ``$ref``, the common formats, and the bounds of numbers, texts and lists, and ignores
    ``pattern``, ``not`` and conditions. For an empty schema the value is an object. Raises ValueError for a schema
    whose values are too many, or too long, to be made in a few milliseconds.
    """
    if not schema:
        schema = {"type": "object", "properties": {"answer": {"type": "string"}, "words": {"type": "integer"}}}
    return _Maker(schema, dice, words or ["echo"]).value(schema, "answer", 0)


class _Maker:
    def __init__(self, root: Mapping[str, Any], dice: Dice, words: Sequence[str]) -> None:
        self._root = root
        self._dice = dice
        self._words = words
        self._made = 0
        self._work_left = _MAX_WORK

    def value(self, schema: Any, name: str, depth: int) -> Any:
        if (
            not is_object(schema) or depth > 6 * _MAX_DEPTH
        ):  # true, which anything fits, or too deep for anything to fit
            return None
        self._made += 1
        self._spend(8)
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._dice.pick(schema["enum"])
        kind = _kind(schema, self._is_terse(depth))
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind == "string":
            return self._string(schema, name)
        if kind in ("integer", "number"):
            return self._number(schema, whole=kind == "integer")
        if kind == "boolean":
            return self._dice.below(2) == 0
        return None

    def _spend(self, work: int) -> None:
        self._work_left -= work
        if self._work_left < 0:
            raise ValueError(
                "its values are too many or too long: make it smaller, or let it refer to itself less often"
            )

    def _is_terse(self, depth: int) -> bool:
        """Whether to leave out what is optional, so that the value comes to an end."""
        return depth >= _MAX_DEPTH or self._made > _MAX_OPTIONAL

    def _resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a schema with its references and choices merged in; what stands beside them counts too."""
        for _ in range(32):  # a reference may refer to itself
            self._spend(len(schema))
            merged = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
            others: list[Mapping[str, Any]] = list(schema.get("allOf", ()))
            if "$ref" in schema:
                others.append(self._target(schema["$ref"]))
            choices = schema.get("anyOf") or schema.get("oneOf")
            if choices:  # a value shows more than null
                self._spend(len(choices))
                others.append(next((choice for choice in choices if choice.get("type") != "null"), choices[0]))
            if not others:
                return schema
            for other in others:
                self._spend(_size(merged) + _size(other))
                merged = _merge(merged, other)
            schema = merged
        return {}

    def _target(self, reference: str) -> Mapping[str, Any]:
        self._spend(len(reference) // 16)
        found: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if is_object(found) else None
        return found if is_object(found) else {}

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required: Sequence[str] = schema.get("required", ())
        properties: Mapping[str, Any] = schema.get("properties", {})
        self._spend(len(properties) + len(required))
        needed = frozenset(required)
        made = {
            name: self.value(property_schema, name, depth + 1)
            for name, property_schema in properties.items()
            if name in needed or not self._is_terse(depth)
        }
        return made | {name: self._text(3) for name in required if name not in made}

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        first: Sequence[Any] = schema.get("prefixItems", ())
        items = schema.get("items", {"type": "string"})
        min_items = schema.get("minItems", 0)
        count = min_items
        if not self._is_terse(depth):
            count = max(min_items, min(schema.get("maxItems", 3), 2 + self._dice.below(2)))
        self._spend(max(count, 0) + len(first))
        made = [self.value(item, name, depth + 1) for item in first]
        if items is not False:
            made += [self.value(items, name, depth + 1) for _ in range(count - len(made))]
        return made

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = self._text(2 + self._dice.below(3) if name in ("name", "title", "id", "label") else 5)
        self._spend(max(schema.get("minLength", 0), 0) // 16)
        while len(text) < schema.get("minLength", 0):
            text += " " + self._text(5)
        return text[: schema.get("maxLength", 200)]

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        step = schema.get("multipleOf", 1 if whole else 0.5)
        lows = [bound for key in ("minimum", "exclusiveMinimum") if (bound := schema.get(key)) is not None]
        highs = [bound for key in ("maximum", "exclusiveMaximum") if (bound := schema.get(key)) is not None]

        def fits(value: float) -> bool:
            above = value >= max(lows, default=value) and value != schema.get("exclusiveMinimum")
            return above and value <= min(highs, default=value) and value != schema.get("exclusiveMaximum")

        low = max(lows) if lows else min(0, min(highs, default=0) - 10 * step)
        first = math.ceil(low / step)
        fitting = [value for count in range(first, first + 12) if fits(value := count * step)]
        value = self._dice.pick(fitting) if fitting else (low + min(highs, default=low)) / 2  # no multiple fits
        return int(value) if whole or value == int(value) else value

    def _text(self, count: int) -> str:
        start = self._dice.below(len(self._words))
        return " ".join(self._words[(start + step) % len(self._words)] for step in range(count))


def _kind(schema: Mapping[str, Any], is_terse: bool) -> str:
    kind = schema.get("type")
    if is_list(kind):
        if "null" in kind and is_terse:
            return "null"
        return next((str(name) for name in kind if name != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return "string"


def _size(schema: Mapping[str, Any]) -> int:
    return len(schema) + sum(len(schema.get(key) or ()) for key in ("properties", "$defs", "required"))


def _merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**other, **one}
    for key in ("properties", "$defs"):
        if key in one and key in other:
            merged[key] = {**other[key], **one[key]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *other["required"]]
    return merged
