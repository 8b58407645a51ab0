"""The demo's tool, which waits until the user allows it."""

from __future__ import annotations

from ..server import Tool

__all__ = ["TOOLSET", "TOOLSETS"]

TOOLSET = "post"
"""The name of the toolset that the page lets the offline model use."""


async def _send_postcard(to: str, text: str) -> dict[str, object]:
    """Return the receipt of a postcard: the demo has no post office, and sends none."""
    return {"sent": True, "to": to, "characters": len(text)}


TOOLSETS = {
    TOOLSET: [
        Tool(
            "send_postcard",
            "Sends a postcard",
            _send_postcard,
            {
                "type": "object",
                "properties": {"to": {"type": "string"}, "text": {"type": "string"}},
                "required": ["to", "text"],
            },
            needs_approval=True,
        )
    ]
}
