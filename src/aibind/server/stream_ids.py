"""The ids of new streams: random ones, and those that follow from the id of a request."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from .claims import Claim, claim_of

__all__ = ["StreamIds"]


@dataclass(frozen=True, slots=True)
class StreamIds:
    """The ids of a handler's new streams, each of which begins with ``prefix``."""

    prefix: str = ""

    def new(self) -> str:
        """Return a random id."""
        return f"{self.prefix}{uuid.uuid4()}"

    def claim(self, endpoint: str, body: object, request_id: str | None, *, owner: str | None) -> Claim | None:
        """Return the claim of a request, whose stream has an id that follows from the request's: see :func:`claim_of`.

        None for a request without an id. Raises RequestError for an id that is malformed, and for two that differ.
        """
        return claim_of(endpoint, body, request_id, owner=owner, prefix=self.prefix)
