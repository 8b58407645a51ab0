"""The answer to what CopilotKit's clients ask first: which agents there are, and what the server can do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["agents_info"]


def agents_info(agents: Iterable[str]) -> dict[str, Any]:
    """Return the description of the agents with these ids."""
    from aibind import __version__

    return {
        "version": __version__,
        "agents": {agent_id: {"name": agent_id, "description": "", "className": "HttpAgent"} for agent_id in agents},
        "mode": "sse",
        "audioFileTranscriptionEnabled": False,
        "threadEndpoints": {"list": False, "inspect": False, "mutations": False, "realtimeMetadata": False},
        "suggestions": False,
        "a2uiEnabled": False,
        "openGenerativeUIEnabled": False,
        "telemetryDisabled": True,
    }
