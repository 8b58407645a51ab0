"""Campaign: chat pages whose connections break at random bytes: ``python -m tests.frontends.cuts``.

Each client asks for 100 replies over connections that break after a random number of bytes, in the headers as well: the
AI SDK in its versions 7, 6 and 5, assistant-ui, AG-UI's own client, and CopilotKit. The page comes back as its client
does, and each message must be whole in the end and equal to the stored one. With our transport for the AI SDK the page
sees no error besides, its chunks are those of a connection that does not break, and no character is sent twice.
"""

from __future__ import annotations

import argparse
import asyncio
import logging

from tests.frontends.agent_server import Script, serving_agents
from tests.frontends.chat_server import serving
from tests.frontends.cut_agents import read_agents_over_cuts, read_copilot_over_cuts
from tests.frontends.cut_chats import read_assistant_ui_over_cuts, read_chats_over_cuts
from tests.frontends.cut_transport import read_with_transport
from tests.frontends.driver import VERSIONS, running_driver


async def run(count: int, seed: int) -> None:
    """Run the campaign, and print what it found."""
    async with running_driver() as driver, serving() as server:
        for version in VERSIONS:
            print(f"ai {version}: {await read_chats_over_cuts(driver, server, version, count, seed)}", flush=True)
        for version in VERSIONS:
            found = await read_with_transport(driver, server, version, count, seed)
            print(f"ai {version}, our transport: {found}", flush=True)
        print(f"assistant-ui: {await read_assistant_ui_over_cuts(driver, server, count, seed)}", flush=True)
    async with serving_agents(Script()) as url:
        async with running_driver("agent.mjs") as driver:
            print(f"AG-UI: {await read_agents_over_cuts(driver, url, count, seed)}", flush=True)
        async with running_driver("copilot.mjs") as driver:
            print(f"CopilotKit: {await read_copilot_over_cuts(driver, url, count, seed)}", flush=True)


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.frontends.cuts", description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.getLogger("aibind").setLevel(logging.CRITICAL)  # of the tool that fails
    asyncio.run(run(options.count, options.seed))


if __name__ == "__main__":
    main()
