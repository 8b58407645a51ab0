"""On Cloudflare Workers: D1 and KV as stores, Workers AI as a model. Imports anywhere; works inside a Python Worker.

What a name needs is imported when it is first used: a Worker's start-up is billed, and limited to a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import load_on_demand

if TYPE_CHECKING:
    from .d1 import D1Client, wrap_d1
    from .kv import KVConversationStore
    from .workers_ai import WorkersAIModel

__all__ = ["D1Client", "KVConversationStore", "WorkersAIModel", "wrap_d1"]

__getattr__ = load_on_demand(
    __name__, {"d1": "D1Client wrap_d1", "kv": "KVConversationStore", "workers_ai": "WorkersAIModel"}
)


def __dir__() -> list[str]:
    return __all__
