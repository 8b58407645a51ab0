"""The intended differences from the recorded JavaScript packages. Everything else is equal.

Each entry names what differs and why; the fixture tests apply exactly these and nothing else.
"""

from __future__ import annotations

import re

NAMED_EVENT = re.compile(r"event: (?!stream-id\n|error\n|stopped\n|done\n)(\S+)\n(?!id: )")

DIFFERENCES = {
    "ids on named events": (
        "A durable stream's named events carry their seq as id. Without it a reader that was cut after a tool call"
        " resumes before it and sees it twice. The JavaScript client ignores the line."
    ),
    "an id on done": (
        "A durable stream's done has an id, so that a browser's EventSource, which reconnects after every end, comes"
        " back with it and is told to stop. The JavaScript client ignores the line."
    ),
    "events by name only on request": (
        "A client that does not accept text/event-stream is sent text and the named events that the JavaScript client"
        " of the endpoint knows, since it shows any other as text."
    ),
    "no Connection header": (
        "The recorded answers have Connection: keep-alive, which HTTP/2 forbids and a server adds by itself."
    ),
    "resume of an unknown stream is a 404": (
        "The recorded server answers 200 with an error event, so that a client cannot tell a stream that has expired"
        " from one that failed."
    ),
    "invalid JSON is a 400": "The recorded server throws, which its framework turns into a 500.",
    "stricter trees": (
        "Text that is no tree at all raises MalformedTreeError with what is wrong, where JavaScript raises its own"
        " SyntaxError, TypeError or Error. Trees with nodes that no path reaches are refused as well."
    ),
}


def with_ids_on_named_events(text: str, first_seq: int) -> str:
    """Put the ids into a recorded durable stream that "ids on named events" and "an id on done" speak of."""
    seq = first_seq - 1
    blocks: list[str] = []
    for block in text.split("\n\n"):
        if block.startswith("id: "):
            seq = int(block.split("\n", 1)[0].removeprefix("id: "))
        elif NAMED_EVENT.match(block + "\n"):
            seq += 1
            block = NAMED_EVENT.sub(rf"\g<0>id: {seq}\n", block, count=1)
        elif block == "event: done\ndata: ":
            block = f"event: done\nid: {2**53 - 1}\ndata: "
        blocks.append(block)
    return "\n\n".join(blocks)
