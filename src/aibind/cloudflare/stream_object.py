"""The Durable Object that runs models, and keeps their replies and the conversations around them."""

from __future__ import annotations

from typing import Any, ClassVar

from ..models import Model, ModelFunction
from ..server import DEFAULT_PREFIX, StreamHandler
from . import ffi
from .object_engine import ObjectEngine

__all__ = ["DurableStreamObject"]


class DurableStreamObject(ffi.durable_object_class()):  # type: ignore[misc]  # known inside workerd alone
    """A Durable Object that answers the endpoints of a :class:`~aibind.server.StreamHandler`, to derive from.

    ::

        class Chat(DurableStreamObject):
            def make_model(self):
                return WorkersAIModel(self.env.AI)

    The model runs inside the object, and a reply needs no client to go on. Its followers are given each token at once.
    Replies and the conversation are in the object's SQLite. A :class:`ObjectRouter` in the Worker leads each request to
    its object.

    Override :meth:`make_model`, or :meth:`make_handler` for more options. ``prefix`` is that of the endpoints' paths,
    ``stream_ttl_ms`` is how long a reply that has ended can be resumed, and ``session_ttl_ms`` how long a conversation
    is kept after its last turn, in milliseconds (None: until it is deleted).
    """

    prefix: ClassVar[str] = DEFAULT_PREFIX
    stream_ttl_ms: ClassVar[int] = 300_000
    session_ttl_ms: ClassVar[int | None] = None

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)  # pyright: ignore[reportUnknownMemberType]  # known inside workerd alone
        self._engine = ObjectEngine(
            ctx,
            self.make_handler,
            prefix=self.prefix,
            stream_ttl_ms=self.stream_ttl_ms,
            session_ttl_ms=self.session_ttl_ms,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._engine.name!r}>"

    def make_model(self) -> Model | ModelFunction:
        """Return the model that answers; the bindings are in ``self.env``."""
        raise NotImplementedError(f"{type(self).__name__} has no model: override make_model or make_handler")

    def make_handler(self, **options: Any) -> StreamHandler:
        """Return the handler, with the ``options`` that depend on the object and any others.

        It is called once, before the first event. To keep no conversations, replace the option ``conversations``.
        """
        return StreamHandler(model=self.make_model(), **options)

    @property
    def handler(self) -> StreamHandler:
        """The handler of this object's replies."""
        return self._engine.handler

    async def fetch(self, request: Any) -> Any:
        """Answer a request, which a router has led here."""
        return await self._engine.fetch(request)

    async def alarm(self, alarm_info: Any = None) -> None:  # noqa: ARG002
        """Remove what has expired, and end what an eviction cut off."""
        await self._engine.alarm()

    async def run_statements(self, text: str) -> str:
        """Run statements for a :class:`DurableObjectStreamStore` in a Worker: both are JSON."""
        return await self._engine.run_statements(text)

    async def wait_for_change(self, version: int, timeout_s: float) -> int:
        """Wait for a change of the streams, for a reader in a Worker."""
        return await self._engine.wait_for_change(int(version), timeout_s)

    async def webSocketMessage(self, socket: Any, message: Any) -> None:  # noqa: N802
        """Take a message of a client: there is none that means anything but ``ping``, which the runtime answers."""

    async def webSocketClose(self, socket: Any, code: int, reason: str, was_clean: bool) -> None:  # noqa: ARG002, N802
        """Forget a socket that was closed."""
        await self._engine.forget_socket(socket)

    async def webSocketError(self, socket: Any, error: Any) -> None:  # noqa: ARG002, N802
        """Forget a socket that has failed."""
        await self._engine.forget_socket(socket)
