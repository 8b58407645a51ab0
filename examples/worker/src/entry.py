"""A chat on Cloudflare: replies stream out of D1 and can be resumed anywhere; conversations are kept in KV."""

import asgi
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from workers import WorkerEntrypoint, wait_until

from aibind.cloudflare import KVConversationStore, WorkersAIModel, wrap_d1
from aibind.models import EchoModel
from aibind.server import StreamHandler, create_app
from aibind.sqlite import SqliteStreamStore


def make_handler(env):
    """Return the handler for one request: a Worker gets its bindings again with each."""
    return StreamHandler(
        model=WorkersAIModel(env.AI) if hasattr(env, "AI") else EchoModel(),
        resumable=True,
        store=SqliteStreamStore(wrap_d1(env.DB)),
        conversations=KVConversationStore(env.CONVERSATIONS),
        keep_alive=wait_until,  # a reply continues when its reader has gone
    )


def make_app(env):
    async def history(request):
        chat = await KVConversationStore(env.CONVERSATIONS).load(request.path_params["session_id"])
        return JSONResponse({"messages": chat.messages})

    return Starlette(routes=[Route("/history/{session_id}", history), Mount("/", create_app(make_handler(env)))])


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return await asgi.fetch(make_app(self.env), request, self.env, self.ctx)

    async def scheduled(self, controller, env, ctx):  # noqa: ARG002
        await make_handler(self.env).sweep()  # answers that were cut off are stored, and expired streams removed
