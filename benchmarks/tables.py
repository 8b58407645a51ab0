"""The figures that the report shows, and their names there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["HEADLINES", "SECTIONS", "Headline", "Section"]

JAVASCRIPT = "the JavaScript stores' algorithm"


@dataclass(frozen=True, slots=True)
class Section:
    """The part of the report about one benchmark.

    ``parameter`` is the option that differs between its runs. ``rows`` are contenders by their path in the result,
    with their names; ``columns`` are figures, with their headings. ``plot`` are the columns to draw.
    """

    benchmark: str
    title: str
    parameter: str
    rows: Sequence[tuple[str, str]]
    columns: Sequence[tuple[str, str]]
    plot: Sequence[str] = field(default=())


SECTIONS = (
    Section(
        "d1_cost",
        "What a reply costs in D1",
        "tokens",
        (("ours", "aibind"), ("yardsticks.javascript", JAVASCRIPT)),
        (
            ("statements", "statements"),
            ("round_trips", "round trips"),
            ("rows_read", "rows read"),
            ("rows_written", "rows written"),
            ("seconds", "seconds"),
        ),
        ("statements", "rows_written"),
    ),
    Section(
        "engines",
        "What a million replies cost on Cloudflare",
        "tokens",
        (
            ("ours", "aibind, an object for each conversation"),
            ("ours.object", "aibind, an object for each reply"),
            ("ours.d1", "aibind on D1"),
            ("yardsticks.javascript", f"{JAVASCRIPT} on D1"),
            ("yardsticks.agents", "Cloudflare's agents, computed"),
        ),
        (("rows_read", "rows read"), ("rows_written", "rows written"), ("dollars", "dollars a million")),
    ),
    Section(
        "d1_latency",
        "A distant database",
        "rtt",
        (("ours", "aibind"), ("yardsticks.javascript", JAVASCRIPT)),
        (("behind_ms", "behind the model, ms"), ("added_ms", "added to a token, ms"), ("round_trips", "round trips")),
        ("behind_ms",),
    ),
    Section(
        "follow",
        "How old a token is at a follower",
        "where",
        (("ours", "aibind"), ("yardsticks.javascript", JAVASCRIPT)),
        (("p50_ms", "p50, ms"), ("p99_ms", "p99, ms"), ("statements", "statements of the follower")),
        ("p50_ms", "p99_ms"),
    ),
    Section(
        "sqlite",
        "Chunks stored per second, and over HTTP",
        "streams",
        (
            ("ours", "aibind, a row a chunk"),
            ("yardsticks.aiosqlite", "aiosqlite, a transaction a chunk"),
            ("yardsticks.aiosqlite_autocommit", "aiosqlite, autocommit"),
            ("yardsticks.javascript", f"{JAVASCRIPT}, our driver"),
            ("ours.streamed", "aibind, as streams are written"),
            ("ours.paced", "aibind, at a pace"),
            ("yardsticks.aiosqlite.paced", "aiosqlite, at the same pace"),
            ("ours.http", "aibind over HTTP, each chunk on disk"),
            ("yardsticks.node_file", "Durable Streams server, files"),
            ("ours.http_memory", "aibind over HTTP, in memory"),
            ("yardsticks.node_memory", "Durable Streams server, in memory"),
        ),
        (("chunks_per_second", "chunks a second"), ("p50_ms", "p50, ms"), ("p99_ms", "p99, ms")),
        ("chunks_per_second",),
    ),
    Section(
        "catch_up",
        "Resuming a long stream",
        "chunks",
        (
            ("ours", "aibind"),
            ("yardsticks.javascript", JAVASCRIPT),
            ("ours.http", "aibind over HTTP"),
            ("yardsticks.node_memory", "Durable Streams server, in memory, over HTTP"),
        ),
        (("first_byte_ms", "first byte, ms"), ("seconds", "all, seconds"), ("peak_mb", "memory, MB")),
        ("first_byte_ms", "peak_mb"),
    ),
    Section(
        "history",
        "Conversations",
        "messages",
        (("ours", "aibind"), ("yardsticks.node", "Node's JSON"), ("yardsticks.python_json", "Python's json")),
        (
            ("build_seconds", "build, s"),
            ("save_seconds", "save, s"),
            ("load_seconds", "load, s"),
            ("store_save_seconds", "save to SQLite, s"),
            ("store_load_seconds", "load from SQLite, s"),
        ),
        ("save_seconds", "load_seconds"),
    ),
    Section(
        "turns",
        "Turns",
        "messages",
        (
            ("ours", "aibind, a row a message"),
            ("yardsticks.json_table", "aibind, a row a conversation"),
            ("yardsticks.sqlite_session", "OpenAI Agents' SQLiteSession"),
            ("yardsticks.sqlite_session.as_shipped", "… with its own `synchronous`"),
            ("yardsticks.sqlite_session.as_used", "… as its documentation uses it"),
            ("yardsticks.langgraph", "LangGraph's AsyncSqliteSaver"),
            ("yardsticks.langgraph.as_shipped", "… with its own `synchronous`"),
            ("ours.d1", "aibind, a row a message, in D1"),
        ),
        (
            ("p50_ms", "p50, ms"),
            ("statements", "statements"),
            ("rows_read", "rows read"),
            ("rows_written", "rows written"),
            ("bytes", "bytes"),
            ("log_bytes", "bytes in the log"),
            ("load_p50_ms", "load of 20, ms"),
            ("first_token_ms", "first token, ms"),
        ),
        ("p50_ms",),
    ),
    Section(
        "search",
        "Searching conversations",
        "sessions",
        (
            ("ours", "aibind"),
            ("ours.owner", "aibind, one owner in a hundred"),
            ("yardsticks.scan", "LIKE over the table"),
        ),
        (
            ("p50_ms", "p50, ms"),
            ("p95_ms", "p95, ms"),
            ("first_seconds", "first search, s"),
            ("after_turn_ms", "after a turn, ms"),
            ("after_turn_long_ms", "after a turn in the long one, ms"),
            ("index_percent", "index, % of the data"),
        ),
        ("p50_ms", "p95_ms"),
    ),
    Section(
        "server",
        "A crowd on one worker",
        "followers",
        (
            ("ours", "aibind, SQLite"),
            ("ours.memory", "aibind, in memory"),
            ("yardsticks.queues", "Starlette, a queue a follower, nothing stored"),
            ("yardsticks.javascript", f"{JAVASCRIPT}, our driver"),
        ),
        (
            ("p50_ms", "p50, ms"),
            ("p99_ms", "p99, ms"),
            ("kb_per_follower", "KB a follower"),
            ("server_cpu_percent", "CPU, % of a core"),
            ("tokens_per_message", "tokens a message"),
            ("requests_per_second", "requests a second"),
        ),
        ("p50_ms", "p99_ms"),
    ),
    Section(
        "formats",
        "A crowd in each wire format",
        "followers",
        (
            ("ours", "aibind's server-sent events"),
            ("ours.ai_sdk", "AI SDK, `create_chat_app`"),
            ("ours.ag_ui", "AG-UI, `create_agent_app`"),
            ("ours.json_lines", "JSON lines, a route"),
            ("ours.plain_text", "plain text, a route"),
            ("ours.durable_response", "`durable_response`, a route"),
        ),
        (
            ("p50_ms", "p50, ms"),
            ("p99_ms", "p99, ms"),
            ("kb_per_follower", "KB a follower"),
            ("cpu_us_per_token", "CPU, µs a token"),
            ("times.p50_ms", "p50, times"),
            ("times.p99_ms", "p99, times"),
            ("times.kb_per_follower", "KB, times"),
            ("times.cpu_us_per_token", "CPU, times"),
        ),
    ),
    Section(
        "durable_response",
        "Making a route durable",
        "events",
        (
            ("ours", "`durable_response`, SQLite"),
            ("ours.memory", "`durable_response`, in memory"),
            ("ours.named", "named events of aibind, SQLite"),
            ("yardsticks.passthrough", "`StreamingResponse`, nothing stored"),
        ),
        (("cpu_us_per_event", "CPU, µs an event"), ("added_us_per_event", "added, µs an event")),
    ),
    Section(
        "objects",
        "Followers of a Durable Object",
        "tokens",
        (
            ("ours.followers_1", "1 follower"),
            ("ours.followers_10", "10 followers"),
            ("ours.followers_100", "100 followers"),
            ("ours.followers_500", "500 followers"),
            ("ours.late", "500 who come while it speaks"),
            ("yardsticks.javascript.followers_1", "1 follower of an object in JavaScript"),
            ("yardsticks.javascript.followers_10", "10 of it"),
            ("yardsticks.javascript.followers_100", "100 of it"),
            ("yardsticks.javascript.followers_500", "500 of it"),
            ("ours.elsewhere", "1 follower, through another Worker"),
            ("ours.stop", "stop through another Worker, until the model is closed"),
        ),
        (
            ("p50_ms", "p50, ms"),
            ("p95_ms", "p95, ms"),
            ("p99_ms", "p99, ms"),
            ("statements", "statements"),
            ("rows_written", "rows written"),
        ),
    ),
    Section(
        "import",
        "Importing",
        "rounds",
        (
            ("ours", "aibind: streams in SQLite"),
            ("ours.cloudflare", "aibind: streams in D1"),
            ("ours.workerd", "aibind: streams in D1, inside workerd"),
            ("ours.history", "aibind: conversations"),
            ("ours.server", "aibind: the server"),
            ("ours.package", "aibind: the bare packages"),
            ("yardsticks.asyncio", "asyncio alone"),
            ("yardsticks.aiosqlite", "aiosqlite"),
            ("yardsticks.starlette", "Starlette"),
            ("yardsticks.httpx2", "httpx2"),
        ),
        (("seconds", "seconds"), ("modules", "modules"), ("third_party", "third-party packages")),
    ),
)


@dataclass(frozen=True, slots=True)
class Headline:
    """A row of the README's table: a figure of aibind beside that of a yardstick, from one run of a benchmark."""

    what: str
    benchmark: str
    run: int
    figure: str
    unit: str
    ours: str = "ours"
    yardstick: str = "yardsticks.javascript"
    against: str = JAVASCRIPT


HEADLINES = (
    Headline("D1 statements for a reply of 1,000 tokens in 10 s", "d1_cost", 0, "statements", ""),
    Headline("D1 rows written for the same reply", "d1_cost", 0, "rows_written", ""),
    Headline("Delay of the reply's end with 50 ms to D1", "d1_latency", -1, "behind_ms", "ms"),
    Headline("A token's age at a follower, same process (p50)", "follow", 0, "p50_ms", "ms"),
    Headline("… in another process, through a SQLite file (p50)", "follow", 1, "p50_ms", "ms"),
    Headline("… in another isolate, through D1 (p50)", "follow", 2, "p50_ms", "ms"),
    Headline("First byte of a stream of 100,000 chunks in a SQLite file", "catch_up", -1, "first_byte_ms", "ms"),
    Headline("Memory for resuming it", "catch_up", -1, "peak_mb", "MB"),
    Headline(
        "Chunks stored per second in a SQLite file, a row each, 50 streams",
        "sqlite",
        2,
        "chunks_per_second",
        "",
        "ours",
        "yardsticks.aiosqlite",
        "aiosqlite, a transaction each",
    ),
    Headline(
        "Chunks per second from POST through a file, flushed to disk, to SSE, 50 streams",
        "sqlite",
        2,
        "chunks_per_second",
        "",
        "ours.http",
        "yardsticks.node_file",
        "Durable Streams server (Node), files",
    ),
    Headline(
        "Encoding a conversation of 100,000 messages as JSON",
        "history",
        -1,
        "save_seconds",
        "s",
        "ours",
        "yardsticks.node",
        "Node's JSON.stringify",
    ),
    Headline("1,000 followers of 100 replies at 50 tokens/s, SQLite file (p99 age)", "server", 0, "p99_ms", "ms"),
    Headline(
        "Memory per follower",
        "server",
        0,
        "kb_per_follower",
        "KB",
        "ours",
        "yardsticks.queues",
        "Starlette with queues, nothing stored",
    ),
)
