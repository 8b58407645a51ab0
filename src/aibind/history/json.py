r"""JSON as JavaScript writes it.

JavaScript services read and write the same conversations, so the output is, byte for byte, that of ``JSON.stringify``
for the same value (ECMA-262, SerializeJSONProperty, QuoteJSONString and Number::toString):

- no spaces; keys in insertion order, except that array indices (``"7"``) come first, in ascending order;
- non-ASCII unescaped, U+2028 included; lone surrogates as ``\udXXX``; control characters as ``\b \f \n \r \t`` or
  ``\u00XX``;
- numbers as JavaScript prints them: ``1.0`` is ``1``, ``1e16`` is ``10000000000000000``, ``-0.0`` is ``0``.

A float from 2**53 up to 1e21 is therefore read back as an int with the digits that JavaScript prints; ``float`` of that
int is the same float again.

Two differences are deliberate. NaN and the infinities are refused, where JavaScript silently writes ``null``. An
``int`` is written with all its digits, even above 2**53: Python reads it back exactly, JavaScript as its nearest
number, so put exact large numbers that JavaScript must read into strings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from json import JSONDecoder
from json.encoder import encode_basestring
from typing import Any, NoReturn

from ..errors import HistoryError

__all__ = ["decode_at", "encode", "encode_object", "index_keys_first", "quote"]

_SURROGATES = re.compile(r"([\ud800-\udbff][\udc00-\udfff])|[\ud800-\udfff]")
_LAST_INDEX = 2**32 - 2  # ECMA-262, "array index": +0 to 2**32 - 2


# --- writing ---------------------------------------------------------------------------------------------------------


def encode(value: Any, what: str = "value") -> str:
    """Return the JSON of dicts, lists, tuples, strings, numbers, booleans and None; ``what`` names it in errors.

    Raises HistoryError, with the path to the offending value, for any other type, a key that is not a string, a number
    that JSON does not have, and a value that contains itself or is nested deeper than Python's stack.
    """
    parts: list[str] = []
    try:
        _write(value, parts)
    except _NotJsonError as error:
        place = what + "".join(f"[{key!r}]" for key in reversed(error.path))
        raise HistoryError(f"{place} {error.reason}") from error.__cause__
    except RecursionError as error:
        raise HistoryError(f"{what} contains itself, or is nested too deeply to be written as JSON") from error
    return "".join(parts)


def encode_object(value: Mapping[str, Any], what: str) -> str:
    """Return the JSON of a value that must be an object. Raises HistoryError as :func:`encode` does."""
    if not isinstance(value, Mapping):
        raise HistoryError(f"{what} must be a dict, which becomes a JSON object, not {_a(value)}")
    return encode(dict(value), what)


def quote(text: str) -> str:
    """Return the JSON of a string, quotation marks included."""
    quoted = encode_basestring(text)
    return quoted if quoted.isascii() else _SURROGATES.sub(_pair_or_escape, quoted)


def index_keys_first(keys: Iterable[str]) -> list[str] | None:
    """Return keys in the order in which JavaScript lists those of an object; None when they are in it already."""
    ordered = list(keys)
    # Hardly any object has such keys, and this filter finds that out at C speed.
    indices = [key for key in filter(str.isdigit, ordered) if _is_index(key)]
    if not indices:
        return None
    indices.sort(key=int)
    if ordered[: len(indices)] == indices:
        return None
    found = frozenset(indices)
    return indices + [key for key in ordered if key not in found]


class _NotJsonError(Exception):
    """Raised when a value is not JSON; ``path`` leads to it, innermost key first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str | int] = []


def _write(value: Any, parts: list[str]) -> None:
    if isinstance(value, str):
        parts.append(quote(value))
    elif isinstance(value, dict):
        _write_object(value, parts)  # pyright: ignore[reportUnknownArgumentType] -- any dict: the keys are checked there
    elif value is None:
        parts.append("null")
    elif value is True:
        parts.append("true")
    elif value is False:
        parts.append("false")
    elif isinstance(value, int):
        parts.append(_integer(value))
    elif isinstance(value, float):
        parts.append(_number(value))
    elif isinstance(value, (list, tuple)):
        _write_array(value, parts)  # pyright: ignore[reportUnknownArgumentType] -- of anything
    else:
        raise _NotJsonError(f"is {_a(value)}, which JSON does not have")


def _write_object(value: dict[Any, Any], parts: list[str]) -> None:
    for key in value:
        if not isinstance(key, str):
            raise _NotJsonError(f"has the key {key!r}: a key must be a string, not {_a(key)}")
    before = "{"
    for key in index_keys_first(value) or value:
        parts.append(f"{before}{quote(key)}:")
        before = ","
        try:
            _write(value[key], parts)
        except _NotJsonError as error:
            error.path.append(key)
            raise
    parts.append("}" if value else "{}")


def _write_array(value: list[Any] | tuple[Any, ...], parts: list[str]) -> None:
    parts.append("[")
    for index, item in enumerate(value):
        if index:
            parts.append(",")
        try:
            _write(item, parts)
        except _NotJsonError as error:
            error.path.append(index)
            raise
    parts.append("]")


def _integer(value: int) -> str:
    try:
        return int.__repr__(value)  # not repr(): an IntEnum prints its name
    except ValueError as error:  # sys.set_int_max_str_digits
        raise _NotJsonError("is an integer with too many digits") from error


def _number(value: float) -> str:
    """Return a float as Number::toString prints it. Python and JavaScript agree on the digits, not on their layout."""
    if not math.isfinite(value):
        raise _NotJsonError(f"is {value!r}, which JSON does not have")
    if value == 0:
        return "0"  # also for -0.0
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    padded = whole + fraction
    digits = padded.lstrip("0")
    # The value is 0.DIGITS × 10**point; Number::toString calls ``point`` n.
    point = len(whole) + int(exponent or 0) - (len(padded) - len(digits))
    digits = digits.rstrip("0")
    sign = "-" if value < 0 else ""
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[0]}{'.' if len(digits) > 1 else ''}{digits[1:]}e{point - 1:+d}"


def _pair_or_escape(match: re.Match[str]) -> str:
    """Join a surrogate pair into one character; escape a lone surrogate."""
    found = match[0]
    return found.encode("utf-16-le", "surrogatepass").decode("utf-16-le") if match[1] else f"\\u{ord(found):04x}"


def _is_index(key: str) -> bool:
    # isdigit() also accepts digits of other scripts, and "01" is not an index.
    return key.isascii() and (key == "0" or key[0] != "0") and len(key) <= 10 and int(key) <= _LAST_INDEX


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


# --- reading ---------------------------------------------------------------------------------------------------------


def decode_at(text: str, position: int) -> tuple[Any, int]:
    """Decode the JSON value that begins at ``position``; return it and the position of its end.

    Raises ValueError, with the position, for anything else, NaN and Infinity included.
    """
    try:
        return _decoder.raw_decode(text, position)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_decoder = JSONDecoder(parse_constant=_refuse)
