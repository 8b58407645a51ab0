"""The commands of ``aibind``. They need click, which is why they are not in cli.py."""

from __future__ import annotations

import sys
from importlib.metadata import version

import click

from .sqlite.schema import (
    CHUNKS_TABLE,
    CONVERSATIONS_TABLE,
    FILES_TABLE,
    MESSAGE_FILES_TABLE,
    MESSAGES_TABLE,
    SESSIONS_TABLE,
    STATUS_TABLE,
    TableNames,
    migrations,
    schema_sql,
)

__all__ = ["aibind"]

# By the name that is imported.
_DEMO_NEEDS = frozenset({"httpx2", "rich", "starlette", "uvicorn"})


# click keeps the lines of a paragraph that begins with \b as they are.
_DEMO_EXAMPLES = """\b
Examples:
  aibind demo
  aibind demo --base-url http://127.0.0.1:11434/v1 --model llama3.2
  OPENAI_API_KEY=… aibind demo --base-url https://api.openai.com/v1 --model NAME
"""
_ASK_EXAMPLES = """\b
Examples:
  aibind ask http://127.0.0.1:8000 "Tell me about rivers"
  aibind ask https://chat.example.com "And then?" --session 5d0c
"""
_SCHEMA_EXAMPLES = """\b
Examples:
  aibind schema | sqlite3 chat.db
  aibind schema > migrations/0001_aibind.sql && wrangler d1 migrations apply DATABASE
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("aibind"), prog_name="aibind")
def aibind() -> None:
    """Run durable AI streams and conversations, on SQLite or on Cloudflare."""


@aibind.command(short_help="Chat with a model in the browser.", epilog=_DEMO_EXAMPLES)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=8765,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port to listen on; 0 takes a free one.",
)
@click.option(
    "--database",
    type=click.Path(dir_okay=False),
    help="The SQLite file for streams and conversations.  [default: demo.db in your data folder]",
)
@click.option("--base-url", help="An endpoint that speaks chat completions. The key is read from OPENAI_API_KEY.")
@click.option("--model", help="The model's name at that endpoint.")
@click.option(
    "--tokens-per-second",
    type=click.FloatRange(0, 100_000),
    help="The pace of the offline model; 0 sets no limit.  [default: 40]",
)
def demo(
    host: str,
    port: int,
    database: str | None,
    base_url: str | None,
    model: str | None,
    tokens_per_second: float | None,
) -> None:
    """Serve a chat page that survives reloads, lost connections and restarts.

    Without --base-url an offline model answers, which needs neither a key nor a network.
    """
    if base_url and not model:
        raise click.UsageError("--base-url needs --model: the model's name as that endpoint knows it")
    if model and not base_url:
        raise click.UsageError("--model needs --base-url, for example https://api.openai.com/v1")
    if base_url and tokens_per_second is not None:
        raise click.UsageError("--tokens-per-second is for the offline model: leave it out, or leave out --base-url")
    try:
        from .demo.run import Options, run_demo
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _DEMO_NEEDS:
            raise
        raise click.ClickException(
            f'The demo needs {error.name}: install it with\n\n    pip install "aibind[demo]"'
        ) from error
    run_demo(Options(host, port, database, base_url, model, 40.0 if tokens_per_second is None else tokens_per_second))


@aibind.command(short_help="Ask a server, and print the reply as it comes.", epilog=_ASK_EXAMPLES)
@click.argument("url")
@click.argument("prompt")
@click.option("--session", "session_id", help="The session to go on with, or to begin.")
@click.option("--toolset", help="The tools that the model may call, by the name that the server has for them.")
@click.option("--token", envvar="AIBIND_TOKEN", help="A token to send as Authorization: Bearer.  [env: AIBIND_TOKEN]")
def ask(url: str, prompt: str, session_id: str | None, toolset: str | None, token: str | None) -> None:
    """Ask a server, and print the reply as it comes.

    A lost connection is replaced, and the reply goes on where it was. Ctrl+C stops it. Calls of tools that wait for
    approval are asked about, in a session and on a terminal.
    """
    from .errors import ClientError

    try:
        from .client.command import ask_and_print
    except ImportError as error:
        raise click.ClickException(str(error)) from error
    try:
        problem = ask_and_print(
            url,
            prompt,
            session_id=session_id,
            toolset=toolset,
            token=token,
            write=lambda text: click.echo(text, nl=False),
            question=click.prompt if sys.stdin.isatty() else None,
        )
    except (ClientError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo()
    if problem is not None:
        raise click.ClickException(f"The reply is not whole: {problem}")


@aibind.command(short_help="Print the SQL of the tables.", epilog=_SCHEMA_EXAMPLES)
@click.option("--chunks-table", default=CHUNKS_TABLE, show_default=True, help="The name of the table of chunks.")
@click.option("--status-table", default=STATUS_TABLE, show_default=True, help="The name of the table of streams.")
@click.option(
    "--conversations-table",
    default=CONVERSATIONS_TABLE,
    show_default=True,
    help="The name of the table of conversations.",
)
@click.option("--sessions-table", default=SESSIONS_TABLE, show_default=True, help="The name of the table of sessions.")
@click.option("--messages-table", default=MESSAGES_TABLE, show_default=True, help="The name of the table of messages.")
@click.option("--files-table", default=FILES_TABLE, show_default=True, help="The name of the table of files.")
@click.option(
    "--message-files-table",
    default=MESSAGE_FILES_TABLE,
    show_default=True,
    help="The name of the table of messages' references to files.",
)
@click.option("--migrations", "as_migrations", is_flag=True, help="Print each migration under its file name.")
def schema(as_migrations: bool, **names: str) -> None:
    """Print the SQL that creates the tables. It is applied once; aibind.sqlite.migrate() brings tables up to date."""
    try:
        tables = TableNames(**names)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if as_migrations:
        click.echo("\n\n".join(f"-- {step.name}.sql\n{step.sql.rstrip()}" for step in migrations(tables)))
    else:
        click.echo(schema_sql(tables).rstrip())
