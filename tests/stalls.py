"""Campaign: texts made to hold the demo's page, all languages and constructs: ``python -m tests.stalls``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.demo.chat_page import ChatPage, new_context
from tests.demo.conftest import OPTIONS, find_chromium
from tests.demo.stalls import code_blocks, constructs, languages_of, measure
from tests.demo.support import DemoProcess


def main() -> None:
    """Run the campaign, and print the texts that held the page longest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit-ms", type=float, default=50, help="what no text may exceed")
    parser.add_argument("--constructs-only", action="store_true")
    options = parser.parse_args()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=OPTIONS)
        with DemoProcess(Path(folder) / "chat.db", tokens_per_second=0) as process:
            page = ChatPage(new_context(browser).new_page(), process).open().page
            texts = list(constructs())
            if not options.constructs_only:
                texts += code_blocks(languages_of(page))
            stalls = [stall for at in range(0, len(texts), 20) for stall in measure(page, texts[at : at + 20])]
    stalls.sort(key=lambda stall: stall.held_ms, reverse=True)
    over = sum(stall.held_ms > options.limit_ms for stall in stalls)
    print(f"{len(stalls)} texts; {over} held the page for more than {options.limit_ms:g} ms")
    for stall in stalls[:20]:
        print(f"{stall.held_ms:8.0f} ms  {stall.name}")


if __name__ == "__main__":
    main()
