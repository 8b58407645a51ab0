"""The command ``aibind ask``: a reply in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..errors import ClientError, ReplyFailedError
from .synchronous import Client

__all__ = ["ask_and_print"]


def ask_and_print(
    url: str, prompt: str, *, session_id: str | None, token: str | None, write: Callable[[str], object]
) -> str | None:
    """Ask, pass the text on as it comes, and return why the reply is not whole; None when it is.

    Ctrl+C stops the reply at the server. Raises ClientError when the server refuses or is out of reach, and ValueError
    for an address that is none.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with Client(url, headers=headers) as client:
        reply = client.ask(prompt, session_id=session_id) if session_id else client.ask(prompt)
        try:
            for event in reply:
                write(event.text)
        except ReplyFailedError as error:
            return str(error)
        except KeyboardInterrupt:
            try:
                reply.stop()
            except ClientError as error:
                print(f"It could not be stopped: {error}", file=sys.stderr)
            return "stopped"
    return "stopped" if reply.state == "stopped" else None
