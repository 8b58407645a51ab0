"""A thousand followers of a hundred live replies, on one uvicorn worker.

``ours`` is :func:`aibind.server.create_app` over a :class:`~aibind.server.StreamHandler` with a SQLite file, as served
in production: on one uvicorn worker, with the event loop and the HTTP parser that ``uvicorn main:app`` chooses.
``--streams`` requests start replies of a model in that process, which produces ``--rate`` tokens a second for each.
Together with the followers that resume, these are ``--followers`` connections, held by one other process with bare
sockets (``client_cpu_percent`` shows that it is not the bottleneck).

Each token carries the time at which it was due; its delay lasts until it arrives at the client, and includes the
lateness of the model's timer (about half a millisecond). ``worst_follower_p99_ms`` is the highest p99 of a follower.
``kb_per_follower`` is how far the server's resident memory rose from before the first request to its peak, with
everything in it - streams, database, connections - divided by the followers; ``idle_kb_per_follower`` is the same
before the first token. ``server_cpu_percent`` is of one core. ``requests_per_second`` counts whole replies of 20 tokens
that have ended, resumed by 20 clients on kept-alive connections, one after another.

The yardsticks: ``queues`` is the usual code without a library (Starlette's streaming response, a queue per follower,
nothing stored); ``javascript`` is the JavaScript stores' algorithm on the same driver and file. ``ours.memory`` is our
handler with its default store, in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path
from urllib.parse import quote

from .support.crowd_run import CrowdOptions, serve_crowd
from .support.measure import interleave
from .support.result import Benchmark, Figures, Result, Say

KINDS = ("ours", "memory", "queues", "javascript")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--followers", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50, help="tokens a second of each stream")
    parser.add_argument("--seconds", type=float, default=10, help="how long the replies are")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=KINDS, nargs="+", default=KINDS)


def run(options: argparse.Namespace, say: Say) -> Result:
    if options.followers < options.streams:
        raise SystemExit("--followers must be at least --streams: each stream has the one who began it")
    kinds = [kind for kind in KINDS if kind in options.only]
    served_by: dict[str, str] = {}
    found = interleave({kind: partial(_measure, kind, options, served_by) for kind in kinds}, options.rounds, say)
    ours = found.pop("ours", {})
    if "memory" in found:
        ours["memory"] = found.pop("memory")
    names = ("followers", "streams", "rate", "seconds", "rounds")
    return Result("server", {name: getattr(options, name) for name in names} | served_by, ours, found)


def _measure(kind: str, options: argparse.Namespace, served_by: dict[str, str]) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_run_server(kind, Path(folder) / "streams.db", options, served_by))


async def _run_server(kind: str, path: Path, options: argparse.Namespace, served_by: dict[str, str]) -> Figures:
    crowd = CrowdOptions(options.followers, options.streams, options.rate, options.seconds)
    async with serve_crowd(kind, path, crowd) as (figures, serving):
        served_by.update({name: serving[name] for name in ("loop", "http")})
        if kind != "queues":  # it keeps nothing that could be resumed
            figures["requests_per_second"] = await _requests(serving["port"], min(2.0, options.seconds))
        return figures


async def _requests(port: int, seconds: float, clients: int = 20) -> float:
    """Resume a short reply again and again; return how many replies a second were read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"prompt": "20 0 0"}'
    head = f"POST /__aibind__/stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    writer.write(head + body)
    answer = await reader.readuntil(b"0\r\n\r\n")
    stream_id = next(
        line.partition(b":")[2].strip().decode()
        for line in answer.splitlines()
        if line.lower().startswith(b"x-stream-id")
    )
    writer.close()
    await asyncio.sleep(0.2)
    request = (
        f"GET /__aibind__/stream/resume?id={quote(stream_id)}&after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    deadline = time.perf_counter() + seconds
    count = 0

    async def ask() -> None:
        nonlocal count
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < deadline:
            writer.write(request)
            await reader.readuntil(b"\r\n0\r\n\r\n")
            count += 1
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(clients)))
    return round(count / (time.perf_counter() - began), 1)


BENCHMARK = Benchmark(
    "server",
    "delay and memory with a thousand followers of a hundred live replies, on one worker",
    add_options,
    run,
    quick=("--followers", "4", "--streams", "2", "--rate", "50", "--seconds", "0.4"),
)
