"""What importing costs a Worker, whose start-up is limited to a second."""

from __future__ import annotations

import sys

from .bench import Bench, checks_once


@checks_once
async def the_standard_library_is_enough(_bench: Bench) -> None:
    import aibind.cloudflare
    import aibind.sqlite
    import aibind.streams

    third_party = {"anyio", "httpx2", "pydantic", "starlette"}
    assert {aibind.cloudflare, aibind.sqlite, aibind.streams}
    assert not third_party & {name.partition(".")[0] for name in sys.modules}
