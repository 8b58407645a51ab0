"""Campaign: inputs made to hold the demo's page or the server's loop: ``python -m tests.stalls [page|server]``."""

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
from tests.server.stalls import PARSERS, Findings, large_texts, small_texts, try_endpoints, try_parser


def main() -> None:
    """Run the campaign, and print the inputs that held the page or the loop longest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["page", "server"], nargs="?", default="page")
    parser.add_argument("--limit-ms", type=float, default=50, help="what no input may exceed")
    parser.add_argument("--constructs-only", action="store_true", help="of the page: Markdown, and no code")
    parser.add_argument(
        "--inputs", type=int, default=100_000, help="of the server: texts a parser, and requests in all"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.part == "server":
        _try_server(options.seed, options.inputs, options.limit_ms)
    else:
        _try_page(options.limit_ms, is_short=options.constructs_only)


def _try_page(limit_ms: float, *, is_short: bool) -> None:
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=OPTIONS)
        with DemoProcess(Path(folder) / "chat.db", tokens_per_second=0) as process:
            page = ChatPage(new_context(browser).new_page(), process).open().page
            texts = list(constructs())
            if not is_short:
                texts += code_blocks(languages_of(page))
            stalls = [stall for at in range(0, len(texts), 20) for stall in measure(page, texts[at : at + 20])]
    stalls.sort(key=lambda stall: stall.held_ms, reverse=True)
    over = sum(stall.held_ms > limit_ms for stall in stalls)
    print(f"{len(stalls)} texts; {over} held the page for more than {limit_ms:g} ms")
    for stall in stalls[:20]:
        print(f"{stall.held_ms:8.0f} ms  {stall.name}")


def _try_server(seed: int, inputs: int, limit_ms: float) -> None:
    for name in PARSERS:
        _report(f"{name}, generated", try_parser(name, small_texts(seed, inputs)), limit_ms)
        _report(f"{name}, large", try_parser(name, large_texts()), limit_ms)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(try_endpoints(Path(folder) / "chat.db", seed, inputs))
    _report("endpoints", found, limit_ms)


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
