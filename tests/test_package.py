"""What the package shows to the world: its names, and what importing it brings along."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import aibind

CORE = ["aibind", "aibind.conversations", "aibind.history", "aibind.models", "aibind.server", "aibind.sqlite"]
CORE += ["aibind.streams", "aibind.testing", "aibind.cloudflare"]

PUBLIC = {
    "aibind": """
        AibindError ChatHistory ConversationStore DurableStream MemoryConversationStore MemoryStreamStore MessageTree
        StreamEvent StreamStore __version__""",
    "aibind.client": """
        ApprovalAnswer AsyncClient AsyncReply Client ClientTransport Reply ReplyEvent Session SessionList SessionMessage
        TransportResponse WaitingCall""",
    "aibind.cloudflare": """
        D1Client DurableObjectClient DurableObjectStreamStore DurableStreamObject FetchTransport KVConversationStore
        ObjectRouter OpenAIFetchModel SessionIndex WorkersAIModel wrap_d1 wrap_durable_object""",
    "aibind.conversations": """
        ConversationStore FileReference FileStore MemoryConversationStore MessagePage SessionInfo SessionStore
        StoredFile StoredMessage""",
    "aibind.history": "ChatHistory GenerateId Message MessageTree Siblings TreeNode TreePath",
    "aibind.integrations.anthropic": "AnthropicClientModel anthropic_events from_anthropic to_anthropic",
    "aibind.integrations.langchain": "LangChainModel StoredMessageHistory from_langchain to_langchain",
    "aibind.integrations.langgraph": "SqliteCheckpointSaver",
    "aibind.integrations.openai": "OpenAIClientModel openai_events",
    "aibind.integrations.openai_agents": "OpenAIAgentsModel StoredSession from_items to_items",
    "aibind.integrations.opentelemetry": "instrument uninstrument",
    "aibind.integrations.pydantic_ai": """
        PydanticAIConversationStore PydanticAIModel from_pydantic_ai to_pydantic_ai""",
    "aibind.models": """
        Approval ApprovalRequest ChooseModel CustomEvent EchoModel Finish Message MessageData Model ModelEvent
        ModelFunction ModelRequest OpenAIModel ReasoningDelta ReplyReference ResumableModel TextDelta ToolCall
        ToolCallDelta ToolResult Usage can_resume skip_repeated""",
    "aibind.models.chat": "ChatReply Prefill Structured chat_body",
    "aibind.models.endpoint": "EndpointAnswer EndpointReply Redactor encode_body",
    "aibind.models.responses": "ResponsesReply responses_body",
    "aibind.protocols": """
        AgUiEncoder Encoder JsonLinesEncoder PlainTextEncoder SseEncoder UiMessageEncoder encoded respond""",
    "aibind.server": """
        Access Action Authorize DEFAULT_PREFIX Endpoints HttpRequest HttpResponse Limits MAX_BODY_BYTES OnBusy Recovery
        StreamHandler Tool create_agent_app create_app create_chat_app create_router durable_response resume_response
        session_key""",
    "aibind.sqlite": """
        WatchableSqliteClient Migration SearchHit SqliteDatabase SqliteClient SqliteConversationStore
        SqliteMessageStore SqliteResult SqliteRow SqliteStreamStore SqliteValue Statement TableNames migrate migrations
        schema_sql wrap_sqlite3""",
    "aibind.streams": """
        BaseStreamStore Body ClaimableStreamStore DurableStream EndHook EventBatch EventHook HttpResponse KeepAlive
        LiveReader MemoryStreamStore MoveHook Pace PagePoller PrepareHook SseMessage SseParser StreamChunk StreamClaim
        StreamEnd StreamEvent StreamInfo StreamPage StreamState StreamStatus StreamStore StreamWriter TerminalState
        WakeupSignals decode_chunk encode_chunk encode_message follow poll_pages""",
    "aibind.testing": """
        Check CheckSkipped ConversationStoreHarness Fault Faults FaultyKV FaultySqliteClient SessionStoreHarness
        StreamStoreHarness conversation_store_checks session_store_checks stream_store_checks""",
}


FRAMEWORKS = {
    "aibind.integrations.anthropic": "anthropic",
    "aibind.integrations.langchain": "langchain_core",
    "aibind.integrations.langgraph": "langgraph",
    "aibind.integrations.openai": "openai",
    "aibind.integrations.openai_agents": "agents",
    "aibind.integrations.opentelemetry": "opentelemetry",
    "aibind.integrations.pydantic_ai": "pydantic_ai",
}
"""What a package needs to be imported, which comes with an extra."""


def needs_what_is_missing(module: str) -> bool:
    """Return whether a module needs a framework that is not installed."""
    return any(
        f"{module}.".startswith(f"{package}.") and importlib.util.find_spec(framework) is None
        for package, framework in FRAMEWORKS.items()
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name: str) -> None:
    """A name that appears or disappears is a decision: this list is changed with it."""
    if needs_what_is_missing(name):
        pytest.skip("install every extra")
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted(PUBLIC[name].split())
    for public in module.__all__:
        assert getattr(module, public) is not None
        assert public in dir(module)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        module.nonsense  # noqa: B018


def modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages(aibind.__path__, "aibind.")]


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is_and_lists_its_names(name: str) -> None:
    if name.endswith("__main__") or needs_what_is_missing(name):
        return
    module = importlib.import_module(name)
    assert module.__doc__
    for public in module.__all__:
        assert hasattr(module, public)


def test_every_error_is_public_and_has_one_root() -> None:
    from aibind import errors

    for name in errors.__all__:
        if name == "PRODUCER_LOST":  # a message, not an error
            continue
        assert issubclass(getattr(errors, name), aibind.AibindError)
        assert name in (errors.__doc__ or ""), f"{name} is missing in the drawing at the top"


@pytest.mark.parametrize("name", CORE)
def test_the_core_needs_the_standard_library_alone(name: str) -> None:
    code = f"import sys; before = set(sys.modules); import {name}; print(*sorted(set(sys.modules) - before))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "random" not in loaded, "it seeds itself when it is imported, which a Worker must not do while it starts"
    assert "sqlite3" not in loaded, "a Worker has none"
    foreign = {module.partition(".")[0] for module in ran.stdout.split()} - {"aibind"} - sys.stdlib_module_names
    assert not foreign


def test_the_wheel_brings_its_files() -> None:
    folder = Path(aibind.__file__).parent
    assert (folder / "py.typed").exists()
    assert list((folder / "sqlite" / "migrations").glob("0001_*.sql"))


def test_the_version_is_the_projects() -> None:
    from importlib.metadata import version

    assert version("aibind") == aibind.__version__
