"""The contracts of the stores, as checks for the authors of stores, and clients with faults.

With pytest::

    @pytest.mark.parametrize("check", stream_store_checks(), ids=lambda check: check.name)
    async def test_my_store(check):
        await check.run(MyHarness())

A check needs no test framework: it raises an error when it fails, and CheckSkipped when it does not apply.

With faults, by a seed::

    store = SqliteStreamStore(FaultySqliteClient(client, Faults(seed=7, rate=0.2)))
"""

from __future__ import annotations

from .._public import publish
from .checks import Check, CheckSkipped
from .conversations import ConversationStoreHarness, conversation_store_checks
from .faults import Fault, Faults
from .faulty_kv import FaultyKV
from .faulty_sqlite import FaultySqliteClient
from .sessions import SessionStoreHarness, session_store_checks
from .stream_harness import StreamStoreHarness
from .streams import stream_store_checks

__all__ = [
    "Check",
    "CheckSkipped",
    "ConversationStoreHarness",
    "Fault",
    "Faults",
    "FaultyKV",
    "FaultySqliteClient",
    "SessionStoreHarness",
    "StreamStoreHarness",
    "conversation_store_checks",
    "session_store_checks",
    "stream_store_checks",
]

publish(__name__, __all__)
