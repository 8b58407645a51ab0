"""The command ``aibind ask``: a reply in the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from ..errors import ClientError, ReplyFailedError
from .approvals import ApprovalAnswer, WaitingCall
from .synchronous import Client, Reply

__all__ = ["ask_and_print"]


def ask_and_print(
    url: str,
    prompt: str,
    *,
    session_id: str | None,
    toolset: str | None = None,
    token: str | None,
    write: Callable[[str], object],
    question: Callable[[str], str] | None = None,
) -> str | None:
    """Ask, pass the text on as it comes, and return why the reply is not whole; None when it is.

    Calls that wait for a user are put to ``question``, which returns what the user types (None: nobody is there).
    Ctrl+C stops the reply at the server. Raises ClientError when the server refuses or is out of reach, and ValueError
    for an address that is none.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with Client(url, headers=headers) as client:
        fields: dict[str, Any] = {"session_id": session_id, "toolset": toolset}
        reply = client.ask(prompt, **{name: value for name, value in fields.items() if value is not None})
        problem = _print(reply, write)
        while problem is None and reply.state == "waiting":
            if session_id is None or question is None:
                return f"it waits for approval of {', '.join(call.name for call in reply.approvals)}"
            calls = client.list_approvals(session_id)
            answers = {call.id: _decide(call, write, question) for call in calls if call.answer is None}
            if not answers:
                break
            reply = client.approve(session_id, answers)
            problem = _print(reply, write)
    return problem


def _print(reply: Reply, write: Callable[[str], object]) -> str | None:
    """Pass the text of a reply on, and return why it is not whole."""
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


def _decide(call: WaitingCall, write: Callable[[str], object], question: Callable[[str], str]) -> ApprovalAnswer:
    """Ask the user about a call until the answer is one."""
    write(f"\n{call.name} {json.dumps(call.args, ensure_ascii=False)}\n")
    if call.state == "unknown":
        write("It was ended in the middle, and may have had an effect.\n")
    run: dict[str, Any] = {"retry": call.attempts} if call.state == "unknown" else {"approved": True}
    while True:
        said = question("Run it? yes, no (a reason may follow), or other arguments as JSON").strip()
        word, _, reason = said.partition(" ")
        if word.lower() in ("y", "yes"):
            return run
        if word.lower() in ("n", "no"):
            return {"approved": False, "reason": reason.strip()} if reason.strip() else False
        try:
            arguments = json.loads(said)
        except (ValueError, RecursionError):
            continue
        if isinstance(arguments, dict):
            return {**run, "args": arguments}
