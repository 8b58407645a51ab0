"""The server of the recipes: ``uvicorn main:app``. It serves the pages of this folder too."""

from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from aibind.models import EchoModel
from aibind.server import StreamHandler, create_app, create_chat_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3

database = wrap_sqlite3("chat.db")
handler = StreamHandler(
    model=EchoModel(),
    resumable=True,
    store=SqliteStreamStore(database),
    conversations=SqliteMessageStore(database),
)


@asynccontextmanager
async def lifespan(app):
    async with database:
        await migrate(database)
        async with handler.running():
            yield


app = Starlette(
    routes=[
        Mount("/__aibind__", create_app(handler)),  # aibind.js, curl, Python
        Mount("/api", create_chat_app(handler)),  # useChat, assistant-ui
        Mount("/", StaticFiles(directory=".", html=True)),
    ],
    lifespan=lifespan,
)
