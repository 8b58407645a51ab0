"""Refusals: an endpoint's answers that are not a success."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..._retry_after import retry_after_s
from ...errors import ModelError
from .address import EndpointAddress, shown_redirect
from .errors import answered, endpoint_error
from .sending import SendingError

__all__ = ["MAX_ERROR_BYTES", "MAX_ERROR_S", "refusal"]

MAX_ERROR_BYTES = 64 * 1024
"""Bytes of an explanation that are read."""
MAX_ERROR_S = 5.0
"""Seconds to read an explanation for."""


def refusal(endpoint: EndpointAddress, status: int, headers: Mapping[str, str], content: bytes) -> SendingError:
    """Return the error of a refusal, without secrets; ``content`` is the beginning of its body."""
    prefix = answered(status)
    location = headers.get("location", "")
    if 300 <= status < 400 and location:
        target = endpoint.redact(shown_redirect(endpoint.url, location))
        return SendingError(
            ModelError(
                f"{prefix}: it redirects to {target}; set base_url to the final address",
                status=status,
                for_clients=prefix,
            )
        )
    payload = _parse_error(content, headers.get("content-type", ""))
    failure = endpoint_error(payload, prefix, endpoint.redact, status=status)
    return SendingError(failure, asked_wait_s=retry_after_s(headers))


def _parse_error(content: bytes, content_type: str) -> Any:
    text = content.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return "the explanation is a web page" if "html" in content_type.lower() else text
