"""Campaign: inputs made to hold the page or the server's loop: ``python -m tests.stalls [page|server|large]``."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.demo.chat_page import ChatPage, new_context
from tests.demo.conftest import OPTIONS, find_chromium
from tests.demo.stalls import code_blocks, constructs, languages_of, measure
from tests.demo.support import DemoProcess
from tests.server.loop_holds import large_requests, large_session
from tests.server.stalls import PARSERS, Findings, large_texts, small_texts, try_endpoints, try_parser


def main() -> None:
    """Run the campaign, and print the inputs that held the page or the loop longest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["page", "server", "large"], nargs="?", default="page")
    parser.add_argument("--limit-ms", type=float, default=50, help="what no input may exceed")
    parser.add_argument("--pieces", type=int, default=1, help="of the page: how many pieces each text arrives in")
    parser.add_argument("--constructs-only", action="store_true", help="of the page: Markdown, and no code")
    parser.add_argument(
        "--inputs", type=int, default=100_000, help="of the server: texts a parser, and requests in all"
    )
    parser.add_argument("--megabytes", type=int, default=600, help="of a large session")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.part == "large":
        _try_large(options.megabytes)
    elif options.part == "server":
        _try_server(options.seed, options.inputs, options.limit_ms)
    else:
        _try_page(options.limit_ms, options.pieces, is_short=options.constructs_only)


def _try_page(limit_ms: float, pieces: int, *, is_short: bool) -> None:
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=OPTIONS)
        with DemoProcess(Path(folder) / "chat.db", tokens_per_second=0) as process:
            page = ChatPage(new_context(browser).new_page(), process).open().page
            texts = list(constructs())
            if not is_short:
                texts += code_blocks(languages_of(page))
            measure(browser, page, texts[:1])  # loads the modules
            parts = [texts[at : at + 20] for at in range(0, len(texts), 20)]
            stalls = [stall for part in parts for stall in measure(browser, page, part, pieces)]
    stalls.sort(reverse=True)
    over = sum(stall.cpu_ms > limit_ms for stall in stalls)
    late = sum(stall.wall_ms > limit_ms for stall in stalls)
    print(
        f"{len(stalls)} texts in {pieces} pieces; for {over} the page's thread worked over {limit_ms:g} ms in one task"
    )
    print(f"by the clock, with what other processes took of this machine, a task was longer for {late}")
    for stall in stalls[:20]:
        print(f"{stall.cpu_ms:8.0f} ms, {stall.wall_ms:.0f} by the clock  {stall.name} ({stall.inner})")


def _try_server(seed: int, inputs: int, limit_ms: float) -> None:
    for name in PARSERS:
        _report(f"{name}, generated", try_parser(name, small_texts(seed, inputs)), limit_ms)
        _report(f"{name}, large", try_parser(name, large_texts()), limit_ms)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(try_endpoints(Path(folder) / "chat.db", seed, inputs))
    _report("endpoints", found, limit_ms)


def _try_large(megabytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for hold in asyncio.run(large_requests(Path(folder) / "requests.db", 60_000, 9_900_000)):
            print(hold, flush=True)
        for hold in asyncio.run(large_session(Path(folder) / "session.db", megabytes)):
            print(hold, flush=True)


def _report(title: str, found: Findings, limit_ms: float) -> None:
    print(
        f"{title}: {found.inputs:,} inputs, {len(found.faults)} faults, longest {found.longest[0][0]:.1f} ms",
        flush=True,
    )
    for fault in found.faults[:10]:
        print(f"  FAULT {fault}")
    for ms, name in found.longest[:3]:
        if ms > limit_ms:
            print(f"  {ms:8.1f} ms  {name[:160]}")


if __name__ == "__main__":
    main()
