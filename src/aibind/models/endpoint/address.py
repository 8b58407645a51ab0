"""The address of an endpoint, its headers, and what of them may be shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, quote, urljoin, urlsplit, urlunsplit

from ..._loopback import is_loopback
from .errors import Redactor

__all__ = ["PATHS", "EndpointAddress", "secrets_of", "shown_redirect", "shown_url"]

PATHS = ("/chat/completions", "/responses")
"""The paths that formats are posted to, below a base URL."""
_SECRETIVE = ("auth", "cookie", "key", "pass", "secret", "sig", "token")  # found in the names of headers and parameters
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2


class EndpointAddress:
    """One endpoint: the ``url`` to post to, the ``headers`` to send, and ``shown``, its address without secrets.

    ``redact`` removes the API key, secret headers and the URL's secrets from a text. Raises ValueError for an address
    or a header that cannot be used.
    """

    def __init__(self, base_url: str, path: str, api_key: str | None, headers: Mapping[str, str]) -> None:
        parts = _split(base_url)
        base = _without_path(parts.path.rstrip("/")).rstrip("/")
        self.url = urlunsplit((parts.scheme, parts.netloc, base + path, parts.query, ""))
        self.shown = shown_url(self.url)
        self.is_loopback = is_loopback(parts.hostname or "")
        self.headers = {
            "accept": "text/event-stream, application/json",
            "accept-encoding": "identity",  # a compressing proxy would hold tokens back
            "content-type": "application/json",
            "user-agent": "aibind",
        }
        if api_key is not None:
            self.headers["authorization"] = f"Bearer {_sendable('api_key', api_key)}"
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a header: use letters, digits and hyphens")
            self.headers[name.lower()] = _sendable(f"The header {name}", value)
        self.redact = Redactor(secrets_of(self.headers, parts))

    def __repr__(self) -> str:
        return f"EndpointAddress({self.shown!r})"

    def below(self, *segments: str, **query: str) -> str:
        """Return the address of something below this one; its own query is kept."""
        parts = urlsplit(self.url)
        path = "/".join([parts.path, *(quote(segment, safe="") for segment in segments)])
        added = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return urlunsplit((parts.scheme, parts.netloc, path, "&".join(filter(None, (parts.query, added))), ""))


def shown_url(url: str) -> str:
    """Return a URL without what may be secret: user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, _without_path(parts.path), "", ""))


def shown_redirect(url: str, location: str) -> str:
    """Return the address that an answer from ``url`` redirects to, without what may be secret."""
    try:
        return shown_url(urljoin(url, location))
    except ValueError:
        return "an address that is not a URL"


def _without_path(path: str) -> str:
    for known in PATHS:
        path = path.removesuffix(known)
    return path


def _split(base_url: str) -> SplitResult:
    advice = "give an address such as https://api.openai.com/v1 or http://localhost:11434/v1"
    try:
        parts = urlsplit(base_url.strip())
        _ = parts.port  # raises for one that is not a number up to 65535
    except ValueError as error:
        raise ValueError(f"base_url is not a URL ({error}): {advice}") from None
    if any(character.isspace() for character in parts.geturl()):
        raise ValueError(f"base_url holds a space: {advice}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url does not begin with http:// or https:// and a host: {advice}")
    return parts


def _sendable(what: str, value: str) -> str:
    # Checked here, since the HTTP library would show the value in its error.
    value = value.strip()
    if not value or not (value.isascii() and value.isprintable()):
        raise ValueError(f"{what} is empty or holds characters that cannot be sent: copy it again")
    return value


def secrets_of(headers: Mapping[str, str], parts: SplitResult) -> list[str]:
    """Return what of a request's headers and address must not be shown."""
    named = [*headers.items(), *parse_qsl(parts.query)]
    secrets = [value for name, value in named if any(part in name.lower() for part in _SECRETIVE)]
    return [*secrets, *(value.removeprefix("Bearer ") for value in secrets), parts.password or ""]
