"""The body of ``POST sessions/{id}/approvals``, and what each answer in it is beside those that are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._json import is_object
from ..errors import RequestError
from .pending import PendingCall, PendingCalls

__all__ = ["MAX_ANSWERS", "GivenAnswers", "parse_answers", "unknown_outcome_error"]

MAX_ANSWERS = 200
"""The limit of the answers in one request."""

_NAMES = frozenset({"approved", "args", "reason", "result", "retry"})


@dataclass(frozen=True, slots=True)
class GivenAnswers:
    """The answers of a request by the ids of their calls, each as it is stored."""

    by_id: Mapping[str, Mapping[str, Any]]

    def added_to(self, pending: PendingCalls) -> list[Mapping[str, Any]]:
        """Return the answers that ``pending`` lacks.

        Raises RequestError, with status 409, for an answer that differs from one that is stored, or cannot be given.
        """
        found = ((pending.find(call_id), given) for call_id, given in self.by_id.items())
        added = (_new(call, given) for call, given in found if call is not None)
        return [answer for answer in added if answer is not None]


def parse_answers(body: object) -> GivenAnswers:
    """Return a checked body: ``{"approvals": {call id: answer}}``.

    An answer is true, false, or an object with ``approved`` or ``retry``, and ``args`` or ``reason``; of a call that
    the page runs, an object with ``result``, any JSON value. ``retry`` is
    true, or the number of attempts that the client knows: a repeated request then does not run a call once more.
    """
    approvals: object = body.get("approvals") if is_object(body) else None
    if not is_object(approvals) or not 1 <= len(approvals) <= MAX_ANSWERS:
        raise RequestError(f"approvals must be an object of 1 to {MAX_ANSWERS} answers by the ids of their calls")
    return GivenAnswers({call_id: _answer(call_id, value) for call_id, value in approvals.items()})


def unknown_outcome_error(call: PendingCall) -> RequestError:
    """Return the refusal of an answer that would run a call again without saying so."""
    return RequestError(
        f'The outcome of call "{call.id}" is not known: answer it with retry to run it again, or with false', 409
    )


def _answer(call_id: str, value: object) -> dict[str, Any]:
    fields: object = {"approved": value} if isinstance(value, bool) else value
    name = f'The answer to call "{call_id}"'
    if not is_object(fields) or not fields.keys() <= _NAMES:
        raise RequestError(f"{name} must be true, false, or an object with {', '.join(sorted(_NAMES))}")
    retry = fields.get("retry")
    approved = fields.get("approved", True if retry is not None or "result" in fields else None)
    if not isinstance(approved, bool) or (retry is not None and not approved):
        raise RequestError(f"{name} needs approved, which is true or false, or retry")
    answer: dict[str, Any] = {"id": call_id, "approved": approved}
    if "result" in fields:
        if not approved or fields.keys() - {"approved", "result"}:
            raise RequestError(f"{name} has a result: leave out what else it says")
        answer["result"] = fields["result"]
    if retry is not None:
        if retry is not True and (not isinstance(retry, int) or retry < 1):
            raise RequestError(f"{name} has retry: use true, or the number of attempts of the call")
        answer["retry"] = retry
    if fields.get("args") is not None:
        if not is_object(fields["args"]) or not approved:
            raise RequestError(f"{name} has args: they must be an object, of a call that is approved")
        answer |= {"args": fields["args"], "edited": True}
    if fields.get("reason") is not None:
        if not isinstance(fields["reason"], str):
            raise RequestError(f"{name} has a reason that is not a string")
        answer["reason"] = fields["reason"].encode("utf-8", "replace").decode()
    return answer


def _new(call: PendingCall, given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return an answer as it is to be stored; None for one that is stored already."""
    if given["approved"] and ("result" in given) != call.is_run_by_page:
        needed = "needs the result of the page" if call.is_run_by_page else "is run here: leave out the result"
        raise RequestError(f'Call "{call.id}" {needed}')
    attempt = given.get("retry")
    if attempt is True:
        known = None if call.last_answer is None else call.last_answer.get("retry")
        attempt = call.attempts if call.state == "unknown" or known is None else known
    answer = given if attempt is None else {**given, "retry": attempt}
    is_open = call.state == "unknown" and call.answer is None
    if call.last_answer == answer or (attempt is not None and attempt < call.attempts):
        return None
    if attempt is not None and not (is_open and attempt == call.attempts):
        raise RequestError(f'Call "{call.id}" was not ended in the middle: retry has nothing to run again', 409)
    if is_open and attempt is None and given["approved"]:
        raise unknown_outcome_error(call)
    if is_open or call.state == "waiting":
        return answer
    if call.last_answer is None:
        raise RequestError(f'Call "{call.id}" was declined by a new message', 409)
    raise RequestError(f'Call "{call.id}" has another answer already', 409)
