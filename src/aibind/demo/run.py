"""The command ``aibind demo``."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import click
import uvicorn
from rich.console import Console
from rich.markup import escape

from .._loopback import is_loopback
from ..errors import SqliteError
from ..models import EchoModel, Model
from .assembly import open_demo
from .serving import DemoServer
from .tools import TOOLSET

__all__ = ["Options", "run_demo"]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command."""

    host: str
    port: int
    database: str | None
    base_url: str | None
    model: str | None
    tokens_per_second: float


def run_demo(options: Options) -> None:
    """Serve the demo until it is interrupted. Raises ClickException for a mistake that the user can correct."""
    listener = _listen(options.host, options.port)
    with listener:
        try:
            # uvloop where it is installed, as for any app that uvicorn runs.
            with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
                runner.run(_serve(options, _database(options.database), listener))
        except SqliteError as error:
            raise click.ClickException(f"The database {_database(options.database)} cannot be used: {error}") from error


async def _serve(options: Options, database: Path, listener: socket.socket) -> None:
    local = _is_loopback(listener)
    async with _model(options) as model, open_demo(database, model, _about(options), local=local) as demo:
        server = DemoServer(demo, lambda: _greet(options, database, listener))

        def end(number: int, frame: FrameType | None) -> None:
            server.handle_exit(number, frame)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        await server.serve(sockets=[listener])


@asynccontextmanager
async def _model(options: Options) -> AsyncGenerator[Model]:
    if not options.base_url or not options.model:
        # The same question gets another answer, so that there are alternatives to look at.
        yield EchoModel(tokens_per_second=options.tokens_per_second, vary=True)
        return
    from ..models.openai import OpenAIModel

    try:
        model = OpenAIModel(options.model, base_url=options.base_url, api_key=os.environ.get("OPENAI_API_KEY") or None)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    async with model:
        yield model


def _about(options: Options) -> dict[str, Any]:
    offline = not options.base_url
    model = "Offline model" if offline else options.model
    # Another model may be at an endpoint that refuses tools.
    return {"model": model, "offline": offline, "version": version("aibind"), "toolset": TOOLSET if offline else None}


def _listen(host: str, port: int) -> socket.socket:
    """Bind the port before anything else, so that a second demo does not open the first one's database."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise click.ClickException(f'Cannot listen on "{host}": {error.strerror or error}') from error
    if sys.platform != "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(256)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise click.ClickException(
                f"Port {port} is in use. Is the demo running already? Open http://{_shown(host)}:{port}, or choose"
                f" another port:\n\n    aibind demo --port {port + 1 if port < 65535 else 0}"
            ) from error
        if error.errno == errno.EACCES:
            raise click.ClickException(f"Port {port} needs more rights than you have: choose one above 1023") from error
        raise click.ClickException(f"Cannot listen on {host} port {port}: {error.strerror or error}") from error
    return listener


def _is_loopback(listener: socket.socket) -> bool:
    return is_loopback(str(listener.getsockname()[0]))


def _shown(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - as they were given
    return f"[{host}]" if ":" in host else host


def _database(given: str | None) -> Path:
    """Return the path of the database, which does not depend on the working directory unless it is given."""
    path = Path(given).expanduser() if given else _data_folder() / "aibind" / "demo.db"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"The folder {path.parent} cannot be made: {error.strerror}") from error
    return path.absolute()


def _data_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def _greet(options: Options, database: Path, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    if options.base_url:
        model = f"{options.model} at {options.base_url}"
        if not os.environ.get("OPENAI_API_KEY"):
            model += " [dim](no OPENAI_API_KEY)[/dim]"
    else:
        pace = f"{options.tokens_per_second:g} tokens a second" if options.tokens_per_second else "as fast as it can"
        model = f"offline, {pace} [dim](--base-url and --model for another)[/dim]"
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"\n  [bold]aibind demo[/bold] [dim]{version('aibind')}[/dim]\n\n"
        f"  Page      [bold cyan]http://{_shown(options.host)}:{port}[/bold cyan]\n"
        f"  Model     {model}\n"
        f"  Database  {escape(str(database))}\n\n"
        f"  [dim]Ctrl+C stops it. The conversations stay in the database.[/dim]\n"
    )
    if not _is_loopback(listener):
        console.print("  [yellow]Everyone who can reach this address can use it: there is no login.[/yellow]\n")
