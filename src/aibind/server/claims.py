"""Requests with an id, each of which is answered once: the stream, the question and the mark that are theirs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from .._time import now_ms
from ..errors import PRODUCER_LOST, RequestError
from ..streams.store import StreamStatus

__all__ = ["MAX_REQUEST_ID_CHARS", "Claim", "claim_of", "lacks_question"]

MAX_REQUEST_ID_CHARS = 200
"""The limit of a request's id, in characters."""

_ID = re.compile(rf"[A-Za-z0-9._~:+/=-]{{1,{MAX_REQUEST_ID_CHARS}}}\Z")

_WAITS = ".waits"

_NAMESPACE = uuid.UUID("6f2a9f0e-5d0b-4d43-9c1e-0d1c3e8b7a55")
"""The namespace of the ids that are made from requests' ids."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to answer a request, which the server has that creates the stream ``stream_id``.

    The id is made from that of the request, so that a store, which has each id once, decides between processes.
    ``digest`` is of the request's body, and ``nonce`` is of this attempt. ``waits`` is whether the question is stored
    only when its session is free.
    """

    stream_id: str
    digest: str
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    waits: bool = False

    @property
    def mark(self) -> str:
        """The text that is stored with the stream."""
        return f"{self.digest}.{self.nonce}{_WAITS if self.waits else ''}"

    @property
    def question_id(self) -> str:
        """The id of the request's question in its conversation, which a repeated request does not add again."""
        return str(uuid.uuid5(_NAMESPACE, f"question {self.stream_id} {self.digest}"))

    def check(self, mark: str | None) -> None:
        """Raise RequestError, with status 409, when a stream's mark is that of another body.

        A store whose tables have no marks cannot tell.
        """
        if mark is not None and mark.partition(".")[0] != self.digest:
            raise RequestError(
                "Another request had this Idempotency-Key or requestId, and another body: give each request its own",
                409,
            )


def lacks_question(status: StreamStatus) -> bool:
    """Return whether the question of a claimed stream may be missing because its server was killed.

    A server that is alive stores it right after it has created the stream, unless it waits for its session.
    """
    if not status.is_active:
        return status.error == PRODUCER_LOST
    waits = status.request is not None and status.request.endswith(_WAITS)
    return not waits or status.expires_at <= now_ms()


def claim_of(
    endpoint: str, body: object, header: str | None, *, owner: str | None = None, prefix: str = ""
) -> Claim | None:
    """Return the claim of a request to an endpoint; None for one without an id.

    The id is ``header``, the value of ``Idempotency-Key``, or ``requestId`` in the body. Ids are told apart by endpoint
    and ``owner``; the stream's id begins with ``prefix``. Raises RequestError for an id that is malformed, and for two
    that differ.
    """
    fields: Mapping[str, Any] = cast("Mapping[str, Any]", body) if isinstance(body, dict) else {}
    named = fields.get("requestId")
    if named is None and header is None:
        return None
    ids = [_checked("requestId", named)] if named is not None else []
    if header is not None:
        ids.append(_checked("Idempotency-Key", _unquoted(header)))
    if ids[0] != ids[-1]:
        raise RequestError("Idempotency-Key and requestId differ: send one of them")
    scope = json.dumps([endpoint, owner, ids[0]])
    return Claim(f"{prefix}{uuid.uuid5(_NAMESPACE, f'stream {scope}')}", _digest(fields))


def _checked(name: str, value: object) -> str:
    if not isinstance(value, str) or not _ID.match(value):
        raise RequestError(
            f"{name} must be 1 to {MAX_REQUEST_ID_CHARS} letters, digits or characters of ._~:+/=-, as a random UUID is"
        )
    return value


def _unquoted(header: str) -> str:
    """Return the value of a header without the quotes that a structured field has."""
    header = header.strip(" \t")
    return header[1:-1] if len(header) >= 2 and header[0] == header[-1] == '"' else header


def _digest(fields: Mapping[str, Any]) -> str:
    """Return a digest of a body, in which neither the order of its names nor the request's id counts."""
    counted = {name: value for name, value in fields.items() if name != "requestId"}
    try:
        text = json.dumps(counted, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except RecursionError as error:
        raise RequestError("The body is nested too deeply") from error
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()
