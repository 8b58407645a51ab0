"""The requests that begin and follow a stream of clocked tokens in each wire format.

A module without imports of aibind: the crowd, which sends the requests, needs none of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FORMATS", "OWN", "ROUTE", "Format", "request"]

OWN = "sse"
"""aibind's own server-sent events, the format that the others are compared with."""

ROUTE = "/formats"
"""The path of routes whose formats have no app."""

_JSON = {"Content-Type": "application/json"}


def request(method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> bytes:
    """Return an HTTP request."""
    content = b"" if body is None else json.dumps(body).encode()
    fields = {"Host": "localhost", **(_JSON if content else {}), **(headers or {}), "Content-Length": str(len(content))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content


@dataclass(frozen=True, slots=True)
class Format:
    """A wire format, and the app that serves it."""

    name: str

    def begin(self, session_id: str, prompt: str) -> bytes:
        """Return the request that asks for a reply."""
        match self.name:
            case "sse":
                return request("POST", "/__aibind__/stream", {"prompt": prompt})
            case "ai_sdk":
                message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": prompt}]}
                return request("POST", "/api/chat", {"id": session_id, "messages": [message]})
            case "ag_ui":
                message = {"id": "m1", "role": "user", "content": prompt}
                body = {"threadId": session_id, "runId": "r1", "messages": [message], "tools": [], "context": []}
                return request("POST", "/agent", body)
            case _:
                return request("POST", ROUTE, {"id": session_id, "prompt": prompt})

    def follow(self, session_id: str, stream_id: str) -> bytes:
        """Return the request that follows the reply from its beginning."""
        match self.name:
            case "sse":
                return request("GET", f"/__aibind__/stream/resume?id={stream_id}&after=0")
            case "ai_sdk":
                return request("GET", f"/api/chat/{session_id}/stream")
            case "ag_ui":
                return request("POST", "/agent/connect", {"threadId": session_id})
            case _:
                return request("GET", f"{ROUTE}/{session_id}")


FORMATS = {name: Format(name) for name in ("sse", "ai_sdk", "ag_ui", "json_lines", "plain_text", "durable_response")}
