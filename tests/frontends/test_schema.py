"""UI message streams are what the AI SDK's own schema accepts, whatever the events are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from aibind.protocols import UiMessageEncoder
from aibind.streams import StreamEnd, StreamEvent
from testbed.node import find_node, install_packages
from tests.frontends.driver import APPROVING, FOLDER, VERSIONS, text_of
from tests.protocols.events import ENDS, EVENTS, batches_of, encode, named

TYPED = frozenset({"weather"})


class Clients:
    """The clients in Node, one command after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, command: str, **options: Any) -> Any:
        """Run a command, and return its value."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"number": 0, "command": command, **options}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "failure" not in answer, answer["failure"]
        return answer["value"]


# Of one call, with the names of a tool that is typed and of others.
OTHER_DELTA = named("tool_call_delta", id="1", name="search", delta="{}")
OTHER_CALL = named("tool_call", id="1", name="weather", args={})
OTHER_RESULT = named("tool_result", id="1", name="clock", result=0)


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    install_packages(FOLDER, "the chat clients of the tests")
    with subprocess.Popen(
        [find_node(), str(FOLDER / "driver.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Clients(process)
        process.kill()


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(events=EVENTS, end=ENDS)
@example(events=[OTHER_CALL, OTHER_RESULT], end=StreamEnd("done"))
@example(events=[OTHER_DELTA, OTHER_CALL, OTHER_RESULT], end=StreamEnd("done"))
def test_the_schema_and_the_client_accept_any_events(
    clients: Clients, version: int, events: list[StreamEvent], end: StreamEnd
) -> None:
    if version not in APPROVING:
        events = [event for event in events if event.event not in ("approval", "approval_request")]
    answer = encode(batches_of(events, end), UiMessageEncoder("m1", TYPED)).decode()
    assert clients.run("check", version=version, answer=answer) is None
    state = clients.run("read", version=version, answer=answer)
    assert (state["status"], state["error"]) == (
        ("error", 'Error: It "failed"\n') if end.state == "error" else ("ready", None)
    )
    message = state["messages"][-1]
    said = "".join(event.data for event in events if event.is_text)
    assert text_of(message).encode("utf-16", "surrogatepass") == said.encode("utf-16", "surrogatepass")
    assert message["id"] == "m1"
