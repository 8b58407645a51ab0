"""The cost of importing in a Worker, whose start-up is limited to a second."""

from __future__ import annotations

import pickle
import sys
import typing

from .bench import Bench, checks_once
from .broken import javascript


@checks_once
async def the_standard_library_is_enough(_bench: Bench) -> None:
    import aibind.cloudflare
    import aibind.sqlite
    import aibind.streams

    third_party = {"anyio", "httpx2", "pydantic", "starlette"}
    assert {aibind.cloudflare, aibind.sqlite, aibind.streams}
    assert not third_party & {name.partition(".")[0] for name in sys.modules}


@checks_once
async def public_classes_name_their_package(bench: Bench) -> None:
    from aibind.client import AsyncClient
    from aibind.cloudflare import FetchTransport, KVConversationStore, OpenAIFetchModel, WorkersAIModel, wrap_d1
    from aibind.history import TreeNode
    from aibind.models import ModelRequest
    from aibind.testing import Faults, FaultyKV

    assert repr(KVConversationStore) == "<class 'aibind.cloudflare.KVConversationStore'>"
    assert repr(KVConversationStore(bench.kv)) == "<KVConversationStore prefix='aibind:conv' ttl_sec=1800>"
    assert repr(FaultyKV(bench.kv, Faults(7))) == "<FaultyKV <Faults seed=7 rate=0 calls=0 struck={}>>"
    assert repr(wrap_d1(bench.db)) == "<D1Client database patience_s=5>"
    assert repr(wrap_d1(bench.db).with_session()) == "<D1Client session patience_s=5>"
    assert repr(FetchTransport()) == "FetchTransport()"
    assert repr(FetchTransport(javascript(bench, "{fetch() {}}"))) == "FetchTransport(binding)"
    assert repr(AsyncClient("https://chat.example")) == "AsyncClient('https://chat.example/__aibind__')"
    assert repr(WorkersAIModel(javascript(bench, "{run() {}}"), "@cf/x")) == "WorkersAIModel('@cf/x')"
    model = OpenAIFetchModel("m", api_key="a secret", base_url="http://127.0.0.1/v1")
    assert repr(model) == "OpenAIFetchModel('m', base_url='http://127.0.0.1/v1')"
    assert pickle.loads(pickle.dumps(ModelRequest([]))) == ModelRequest([])
    assert typing.get_type_hints(TreeNode)["children"] == tuple[str, ...]
    fields = "messages system json_schema tools context session_id owner settings model approvals"
    assert typing.get_type_hints(ModelRequest).keys() == set(fields.split())
