"""Requests to agents: AG-UI's own, and those of CopilotKit, which name an agent and may share one address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .._json import is_object
from ..errors import RequestError
from .access import Action
from .agent_requests import RunRequest, is_before_1_0, thread_of
from .requests import check_id

__all__ = ["AgentCall", "find_call", "stopped_run"]

Kind: TypeAlias = Literal["info", "run", "connect", "stop"]

_ENVELOPES: dict[str, Kind] = {
    "info": "info",
    "agent/run": "run",
    "agent/connect": "connect",
    "agent/stop": "stop",
}
"""The methods of CopilotKit's requests to one address for all."""


@dataclass(frozen=True, slots=True)
class AgentCall:
    """A request: to run an agent, to connect to a thread or stop it, or to tell which agents there are.

    ``agent_id`` is None where the request names none. ``run`` is there for a run, and ``run_id`` names the one to stop;
    None stops all of the thread.
    """

    kind: Kind
    agent_id: str | None = None
    thread_id: str = ""
    run: RunRequest | None = None
    run_id: str | None = None
    before_1_0: bool = False

    @property
    def purpose(self) -> tuple[Action, str | None]:
        """The action that the request is for, and the id of its session."""
        if self.kind == "info":
            return "list", None
        if self.kind == "connect":
            return "attach", self.thread_id
        if self.kind == "stop":
            return "stop", self.thread_id
        return "approve" if self.run is not None and self.run.goes_on else "stream", self.thread_id

    @classmethod
    def parse(cls, body: object, agent_id: str | None = None, kind: Kind = "run") -> AgentCall:
        """Return a checked request to run or to connect. Raises RequestError."""
        if kind == "connect":
            return cls(kind, agent_id, thread_of(body), before_1_0=is_before_1_0(body))
        run = RunRequest.parse(body)
        return cls("run", agent_id, run.thread_id, run, before_1_0=run.before_1_0)

    @classmethod
    def parse_any(cls, body: object) -> AgentCall:
        """Return a checked request of any kind: a run, or ``{"method", "params", "body"}``. Raises RequestError."""
        if not is_object(body) or not isinstance(method := body.get("method"), str):
            return cls.parse(body)
        kind = _ENVELOPES.get(method)
        if kind is None:
            raise RequestError(f'Unknown method "{method}": use one of {", ".join(_ENVELOPES)}', 404)
        if kind == "info":
            return cls(kind)
        params: Any = body.get("params")
        agent_id = params.get("agentId") if is_object(params) else None
        if not isinstance(agent_id, str):
            raise RequestError("params need an agentId")
        if kind == "stop":
            return cls(kind, agent_id, thread_of(params), run_id=stopped_run(body.get("body")))
        return cls.parse(body.get("body"), agent_id, kind)


def find_call(names: Sequence[str]) -> tuple[Kind, str | None, str] | None:
    """Return the kind, the agent and the thread that a path of a POST names; None for a path of nothing."""
    match names:
        case ["run" | "connect" as kind]:
            return kind, None, ""
        case ["stop", thread_id]:
            return "stop", None, check_id("threadId", thread_id)
        case ["agent", agent_id, "run" | "connect" as kind]:
            return kind, agent_id, ""
        case ["agent", agent_id, "stop", thread_id]:
            return "stop", agent_id, check_id("threadId", thread_id)
        case _:
            return None


def stopped_run(body: object) -> str | None:
    """Return the id of the run that a request wants stopped; None for all of its thread. Raises RequestError."""
    run_id = body.get("runId") if is_object(body) else None
    if run_id is not None and not isinstance(run_id, str):
        raise RequestError("runId must be a string")
    return check_id("runId", run_id) if run_id else None
