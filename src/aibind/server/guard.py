"""Checks of a request's Host, Origin and Content-Type, so that the page of another site can cause and read nothing.

A browser sends requests to any address that a page names, with the user's cookies and from inside the user's network.
Three of its headers tell: ``Origin`` (and ``Sec-Fetch-Site``) which page asks, ``Host`` by which name the page reached
this server, and ``Content-Type`` whether a form could have sent the body.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from ..errors import RequestError

__all__ = ["Guard", "check_content_type"]

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_SHOWN = 100


class Guard:
    """The hosts that a server answers for, and the origins whose pages may change something.

    ``hosts`` are names without a port, such as ``chat.example``, ``*.example`` for all names below one, or ``::1``;
    without any, every name is answered. ``origins`` are those of other sites, such as ``https://app.example``, and
    ``*`` is any. Raises ValueError for a host with a scheme, a port or a path.
    """

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._hosts = frozenset(map(_checked_host, _several("allowed_hosts", hosts)))
        self._origins = frozenset(origin.rstrip("/").lower() for origin in _several("origins", origins))

    def __repr__(self) -> str:
        return f"<Guard hosts={sorted(self._hosts)} origins={sorted(self._origins)}>"

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """Raise RequestError for another host (421), and for a change that another site's page asks for (403).

        The names of ``headers`` are in lower case.
        """
        self.check_host(headers)
        if method not in _READING:
            self.check_origin(headers)

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Raise RequestError, with status 421, for another host."""
        host = headers.get("host", "")
        if self._hosts and not self._is_allowed(_name_of(host)):
            raise RequestError(
                f'This server does not answer for the host "{host[:_MAX_SHOWN]}", which is not in allowed_hosts', 421
            )

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Raise RequestError, with status 403, for what another site's page asks for."""
        if not self._is_own(headers):
            origin = headers.get("origin", "of another site")
            raise RequestError(
                f"Pages of the origin {origin[:_MAX_SHOWN]} may not call this server: add it to the allowed origins",
                403,
            )

    def _is_allowed(self, name: str) -> bool:
        if name in self._hosts:
            return True
        return any(host.startswith("*.") and name.endswith(host[1:]) for host in self._hosts)

    def _is_own(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request comes from this server's own page, from an allowed origin, or from no page.

        A program that is no browser sends neither header.
        """
        origin = headers.get("origin")
        if "*" in self._origins or (origin is not None and origin.lower() in self._origins):
            return True
        site = headers.get("sec-fetch-site")
        if site is not None:  # no page can forge it, and a proxy that rewrites Host does not change it
            return site in ("same-origin", "none")
        return origin is None or _is_origin_of(origin, headers.get("host", ""))


def check_content_type(headers: Mapping[str, str]) -> None:
    """Raise RequestError, with status 415, for a body that is not declared as JSON.

    A page can send other types anywhere without asking, and a program may leave the header out.
    """
    declared = headers.get("content-type")
    if declared is None:
        if "origin" not in headers and "sec-fetch-site" not in headers:
            return
        declared = "missing"
    kind = declared.partition(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return
    raise RequestError(f"The Content-Type is {declared[:_MAX_SHOWN]}: send application/json", 415)


def _is_origin_of(origin: str, host: str) -> bool:
    scheme, separator, place = origin.lower().partition("://")
    return scheme in ("http", "https") and bool(separator) and place == host.lower()


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _checked_host(host: str) -> str:
    name = host.strip("[]").lower()
    if not name or "/" in name or name.count(":") == 1:
        raise ValueError(f"allowed_hosts has {host!r}: give a name without scheme, port and path, such as chat.example")
    return name


def _several(option: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        raise TypeError(f"{option} is the string {values!r}: give a list of strings")
    return list(values)
