"""Crowds of responses that the runtime sends the same."""

from __future__ import annotations

from typing import Any

from aibind.cloudflare import ffi_http
from aibind.cloudflare.object_crowd import Crowd
from aibind.streams.batch import EventBatch
from aibind.streams.position import Position

from .bench import Bench, checks_in_object

check = checks_in_object


class Reader:
    position = Position(0, 0)


class Follower:
    def __init__(self, crowd: Crowd[Any]) -> None:
        self.reader: Any = Reader()
        self.is_gone = False
        self.is_alone = True
        self.sink = crowd.open_sink(self.leave)

    def leave(self) -> None:
        self.is_gone = True


def encode(_batch: EventBatch) -> bytes:
    return b""


def crowd_of(count: int) -> tuple[Crowd[Any], list[Follower]]:
    crowd: Crowd[Any] = Crowd(encode)
    crowd.position = Position(3, 4)
    followers = [Follower(crowd) for _ in range(count)]
    for follower in followers:
        crowd.join(follower)
    return crowd, followers


async def read(sink: ffi_http.ByteSink) -> list[bytes]:
    return [part async for part in ffi_http.read_stream(sink.stream)]


@check
async def each_of_a_crowd_is_sent_the_same(bench: Bench) -> None:
    crowd, followers = crowd_of(40)
    crowd.send(ffi_http.to_js_bytes(b"one"))
    crowd.send(ffi_http.to_js_bytes(b"two"))
    assert crowd.take_fed()
    assert not crowd.take_fed()
    for follower in followers:
        follower.sink.close()
        assert b"".join(await read(follower.sink)) == b"onetwo"


@check
async def those_without_room_leave_a_crowd(bench: Bench) -> None:
    crowd, followers = crowd_of(3)
    for _ in range(ffi_http.ROOM):
        assert crowd.part() == []
        crowd.send(ffi_http.to_js_bytes(b"."))
    reader = followers[1].sink.stream.getReader()
    await reader.read()
    assert crowd.part() == [followers[2], followers[0]]
    assert len(crowd) == 1
    assert [one.is_alone for one in followers] == [True, False, True]
    assert followers[0].reader.position == crowd.position


@check
async def a_crowd_is_busy_until_all_is_passed_on(bench: Bench) -> None:
    crowd, followers = crowd_of(20)
    readers = [follower.sink.stream.getReader() for follower in followers]
    reads = [reader.read() for reader in readers]  # each asks for more
    assert not crowd.is_busy()
    crowd.send(ffi_http.to_js_bytes(b"."))
    assert crowd.is_busy()
    for asked, reader in zip(reads, readers, strict=True):
        assert (await asked).value.to_bytes() == b"."
        reader.read()
    assert not crowd.is_busy()


@check
async def a_crowd_is_let_go_when_a_response_has_ended_unnoticed(bench: Bench) -> None:
    """Who was sent something before that is not known, and what the others have is the start of what they lack."""
    crowd, followers = crowd_of(3)
    followers[1].sink.controller.close()
    crowd.send(ffi_http.to_js_bytes(b"."))
    assert all(follower.is_gone for follower in followers)
    assert len(crowd.part()) == 3
    assert crowd.part() == []


@check
async def those_who_have_gone_leave_a_crowd(bench: Bench) -> None:
    crowd, followers = crowd_of(3)
    await followers[2].sink.stream.cancel()
    assert followers[2].is_gone
    assert crowd.part() == [followers[2]]
    crowd.send(ffi_http.to_js_bytes(b"."))
    assert not followers[0].is_gone
