"""The endpoints that answer once, when the model has ended: a continued text, a title, a summary."""

from __future__ import annotations

from ..conversations.sessions import SessionStore
from ..conversations.store import ConversationStore
from ..streams.response import Body, HttpResponse
from . import prompts
from .access import Access, owner_of, session_key
from .asking import Asking
from .generation import Generation
from .limits import Limits
from .load import Load
from .requests import CompactBody, CompleteBody, TitleBody
from .responses import json_response, text_response
from .session_titles import bounded_title
from .sessions import Sessions
from .shutdown import Shutdown

__all__ = ["Completions"]


class Completions:
    """The endpoints of a handler that answer without a stream; none of them begins during a shutdown.

    ``conversations`` and ``sessions`` are None where conversations are not stored.
    """

    def __init__(
        self,
        asking: Asking,
        limits: Limits,
        load: Load,
        shutdown: Shutdown,
        *,
        conversations: ConversationStore | None,
        sessions: Sessions | None,
        complete_prompt: str,
        title_prompt: str,
        compact_prompt: str,
    ) -> None:
        self._asking = asking
        self._limits = limits
        self._load = load
        self._shutdown = shutdown
        self._conversations = conversations
        self._sessions = sessions
        self._complete_prompt = complete_prompt
        self._title_prompt = title_prompt
        self._compact_prompt = compact_prompt

    async def complete(self, body: object, access: Access | None) -> HttpResponse[Body]:
        """Continue a text that is being written."""
        self._limits.check(body)
        asked = CompleteBody.parse(body)
        generation = self._ask(asked.model, asked.input, asked.system or self._complete_prompt, access)
        return text_response(await self._read(generation, access))

    async def title(self, body: object, access: Access | None) -> HttpResponse[Body]:
        """Name a conversation; with a session in a SessionStore, make the name its title."""
        self._limits.check(body)
        asked = TitleBody.parse(body)
        transcript = prompts.transcript(asked.messages)
        generation = self._ask(asked.model, transcript, self._title_prompt, access, asked.session_id)
        title = (await self._read(generation, access)).strip()
        if asked.session_id and title and isinstance(self._conversations, SessionStore):
            await self._conversations.rename(session_key(asked.session_id, owner_of(access)), bounded_title(title))
        response = text_response(title, content_type="text/plain; charset=utf-8")
        return HttpResponse(response.status, {**response.headers, "Cache-Control": "no-cache"}, response.body)

    async def compact(self, body: object, access: Access | None) -> HttpResponse[Body]:
        """Condense a conversation; with a session, replace the stored one by the summary."""
        self._limits.check(body)
        asked = CompactBody.parse(body)
        transcript = prompts.transcript(asked.messages)
        generation = self._ask(asked.model, transcript, self._compact_prompt, access, asked.session_id)
        summary = await self._read(generation, access)
        if asked.session_id and self._sessions is not None and summary:
            await self._sessions.find(asked.session_id, owner_of(access)).compact(summary)
        saved = generation.usage.input_tokens - generation.usage.output_tokens
        return json_response({"summary": summary, "tokensSaved": saved})

    def _ask(
        self, key: str | None, text: str, system: str, access: Access | None, session_id: str | None = None
    ) -> Generation:
        self._shutdown.check()
        request = self._asking.request([{"role": "user", "content": text}], access, key, session_id, system=system)
        return Generation(self._asking.answer(self._asking.pick(key), request))

    async def _read(self, generation: Generation, access: Access | None) -> str:
        with self._load.start(owner_of(access)):
            return await generation.read()
