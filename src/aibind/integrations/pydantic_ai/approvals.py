"""Deferred tools of pydantic-ai as calls that wait for a user, and the user's answers as its results."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic_ai import DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied
from pydantic_core import to_jsonable_python

from ..._json import is_object, load_json
from ...models.model import Approval, ApprovalRequest, ModelRequest

__all__ = ["deferred_results", "requests_of"]


def requests_of(deferred: DeferredToolRequests) -> Iterator[ApprovalRequest]:
    """Yield a request for each call that needs approval, with its metadata as details.

    Calls that are to be run elsewhere are left to the client.
    """
    for part in deferred.approvals:
        metadata = deferred.metadata.get(part.tool_call_id)
        details = to_jsonable_python(metadata) if metadata else None
        yield ApprovalRequest(part.tool_call_id, part.tool_name, part.args_as_json_str(), details)


def deferred_results(request: ModelRequest) -> DeferredToolResults | None:
    """Return the answers that a request brings; None when it brings none."""
    if not request.approvals:
        return None
    return DeferredToolResults(approvals={call_id: _result(one) for call_id, one in request.approvals.items()})


def _result(approval: Approval) -> ToolApproved | ToolDenied:
    if not approval.approved:
        return ToolDenied(approval.reason) if approval.reason else ToolDenied()
    arguments = load_json(approval.arguments) if approval.arguments is not None else None
    return ToolApproved(override_args=arguments if is_object(arguments) else None)
