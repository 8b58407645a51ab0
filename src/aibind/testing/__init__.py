"""The contracts of the stores, as checks that anyone who writes a store can run against it.

A check needs no test framework. With pytest::

    @pytest.mark.parametrize("check", stream_store_checks(), ids=lambda check: check.name)
    async def test_my_store(check):
        await check.run(MyHarness())
"""

from __future__ import annotations

from .._public import publish
from .checks import Check
from .conversations import ConversationStoreHarness, conversation_store_checks
from .stream_harness import StreamStoreHarness
from .streams import stream_store_checks

__all__ = [
    "Check",
    "ConversationStoreHarness",
    "StreamStoreHarness",
    "conversation_store_checks",
    "stream_store_checks",
]

publish(__name__, __all__)
