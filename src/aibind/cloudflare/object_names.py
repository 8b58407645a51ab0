"""The names of objects: one for each conversation, and for each reply without a conversation.

The id of a stream begins with the name of its object and a dot, so that it is found from the id alone.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from ..server import session_key
from ..server.claims import Claim

__all__ = ["object_of_reply", "object_of_session", "object_of_stream", "object_without_stream"]

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

_STREAM = re.compile(r"((?:c-[A-Za-z0-9_-]{1,64}|h-[0-9a-f]{32}|r-[0-9a-f-]{32,36}))\.[0-9a-f-]{36}\Z")

_WITHOUT_STREAM = 64
"""Objects that answer requests without a stream, such as completions of a text: not one object for each."""


def object_of_session(session_id: str, owner: str | None = None) -> str:
    """Return the name of the object that has an owner's conversation: ``c-{session_id}`` where nobody is asked.

    It is part of the ids of streams, in addresses and logs: an owner's name is not in it, but a hash.
    """
    if owner is None and _PLAIN.match(session_id):
        return f"c-{session_id}"
    return f"h-{hashlib.sha256(session_key(session_id, owner).encode()).hexdigest()[:32]}"


def object_of_reply(claim: Claim | None = None) -> str:
    """Return the name of an object for a reply without a conversation: the same for a request that is repeated."""
    return f"r-{claim.stream_id if claim is not None else secrets.token_hex(16)}"


def object_of_stream(stream_id: str) -> str | None:
    """Return the name of the object that has a stream; None for an id that no stream of an object has."""
    found = _STREAM.match(stream_id)
    return found[1] if found else None


def object_without_stream() -> str:
    """Return the name of an object, one of a few, for a request that begins no stream."""
    return f"m-{secrets.randbelow(_WITHOUT_STREAM)}"
