"""The endpoints that AG-UI's clients call: run, and connect and stop, which the protocol leaves to its servers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.parse import unquote

from .._json import compact_json, is_list, is_object
from ..errors import RequestError
from ..history import ChatHistory, TreeNode
from ..protocols.ag_ui import AgUiEncoder
from ..protocols.encoder import encoded
from ..streams.batch import EventBatch
from ..streams.response import Body, HttpResponse
from ..streams.store import StreamEnd
from .access import Access, Action, owner_of
from .agent_requests import RunRequest, thread_of
from .claims import claim_of
from .entrance import Enter, not_found
from .front_end import FrontEnd
from .requests import check_id
from .responses import json_response
from .session_replies import SessionReplies
from .session_routes import ReadBody

__all__ = ["AgentEndpoints"]

_RECENT = 40
"""Messages to load at first when one is looked for."""


class AgentEndpoints(FrontEnd):
    """The endpoints of AG-UI below a path. The options are those of :func:`create_agent_app`."""

    async def _answer(
        self,
        method: str,
        segments: list[str],
        query: str,
        headers: Mapping[str, str],
        read_json: ReadBody,
        enter: Enter,
    ) -> HttpResponse[Body]:
        del query, headers
        names = [unquote(segment) for segment in segments]
        match (method, *names):
            case ("POST",) | ("POST", "") | ("POST", "run"):
                return await self._run(read_json, enter)
            case ("POST", "connect"):
                thread_id, access = await self._read(read_json, enter, thread_of, lambda found: ("attach", found))
                return await self._connect(thread_id, self._replies(access))
            case ("POST", "stop", thread_id):
                check_id("threadId", thread_id)
                await self._replies(await enter("stop", thread_id)).stop(thread_id)
                return json_response({"ok": True})
            case _:
                return not_found()

    async def _run(self, read_json: ReadBody, enter: Enter) -> HttpResponse[Body]:
        asked, access = await self._read(read_json, enter, RunRequest.parse, _purpose)
        replies = self._replies(access)
        stream_id = await (self._resume(asked, replies) if asked.approvals else self._begin(asked, replies, access))
        return await replies.follow(stream_id, AgUiEncoder(asked.thread_id, asked.run_id, stream_id))

    async def _begin(self, asked: RunRequest, replies: SessionReplies, access: Access | None) -> str:
        body: dict[str, Any] = {**asked.options, **self._options, "sessionId": asked.thread_id}
        question = await _find_question(replies, asked.thread_id, asked.message_id)
        if question is None:
            new = {"prompt": asked.prompt, "attachments": list(asked.attachments), "messageId": asked.message_id}
            return await replies.begin({**body, **new}, request_id=asked.request_id)
        claim = claim_of("stream", body, asked.request_id, owner=owner_of(access))
        if claim is not None and question.metadata.get("streamId") == claim.stream_id:
            return claim.stream_id  # the run that asked it first, once more
        return await replies.begin({**body, "regenerate": question.id}, request_id=asked.request_id)

    async def _resume(self, asked: RunRequest, replies: SessionReplies) -> str:
        stream_id = await replies.answer(asked.thread_id, asked.approvals)
        if stream_id is None:
            raise RequestError("The run waits for more answers: resume it with all of them at once", 409)
        return stream_id

    async def _connect(self, thread_id: str, replies: SessionReplies) -> HttpResponse[Body]:
        """Return the messages of a thread, and the run that is under way in it."""
        chat = await replies.load(thread_id)
        stream_id = await replies.live_stream(thread_id)
        history = compact_json(_messages(chat, without=stream_id))
        if stream_id is not None:
            try:
                return await replies.follow(stream_id, AgUiEncoder(thread_id, stream_id, stream_id, history))
            except RequestError as error:
                if error.status != 404:
                    raise
        encoder = AgUiEncoder(thread_id, thread_id, thread_id, history)
        return HttpResponse(200, encoder.headers, encoded(_nothing_new(), encoder))


def _purpose(asked: RunRequest | None) -> tuple[Action, str | None]:
    if asked is None:
        return "stream", None
    return "approve" if asked.approvals else "stream", asked.thread_id


async def _find_question(replies: SessionReplies, thread_id: str, message_id: str) -> TreeNode | None:
    """Return a question on the current path by the id that the page knows it by; None when it is not there."""
    chat = await replies.load(thread_id, limit=_RECENT)
    found = _question_in(chat, message_id)
    if found is None and chat.has_more_above:
        found = _question_in(await replies.load(thread_id), message_id)
    return found


def _question_in(chat: ChatHistory, message_id: str) -> TreeNode | None:
    for node in reversed(_path(chat)):
        if node.message.get("role") == "user" and message_id in (node.id, node.metadata.get("messageId")):
            return node
    return None


def _path(chat: ChatHistory) -> list[TreeNode]:
    nodes = (chat.tree.get(node_id) for node_id in chat.tree.get_active_path().node_ids)
    return [node for node in nodes if node is not None]


def _messages(chat: ChatHistory, *, without: str | None) -> list[dict[str, Any]]:
    """Return the messages of the current path as AG-UI has them, but for the answer of one stream."""
    found: list[dict[str, Any]] = []
    for node in _path(chat):
        message, own_id = node.message, node.metadata.get("messageId")
        role = message.get("role")
        if role not in ("user", "assistant", "system", "tool"):
            continue
        if without is not None and role != "user" and node.metadata.get("streamId") == without:
            continue
        shown: dict[str, Any] = {"id": own_id if isinstance(own_id, str) else node.id, "role": role}
        shown["content"] = _text(message.get("content"))
        if role == "tool":
            shown["toolCallId"] = str(message.get("tool_call_id", ""))
        calls = message.get("tool_calls")
        if role == "assistant" and is_list(calls) and calls:
            shown["toolCalls"] = calls
            if not shown["content"]:
                del shown["content"]
        found.append(shown)
    return found


def _text(content: Any) -> str:
    if not is_list(content):
        return content if isinstance(content, str) else ""
    return "\n".join(part["text"] for part in content if is_object(part) and isinstance(part.get("text"), str))


async def _nothing_new() -> AsyncGenerator[EventBatch]:
    yield EventBatch((), 0, StreamEnd("done"))
