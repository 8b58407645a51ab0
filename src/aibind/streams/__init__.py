"""Durable, resumable streams: events, stores, producers and followers, and server-sent events."""

from __future__ import annotations

from .._public import publish
from .base import BaseStreamStore
from .batch import EventBatch
from .claims import ClaimableStreamStore, StreamClaim
from .durable import DurableStream, EndHook, EventHook, KeepAlive, MoveHook, PrepareHook, follow
from .events import StreamEvent, decode_chunk, encode_chunk
from .live_reader import LiveReader
from .memory import MemoryStreamStore
from .polling import PagePoller, poll_pages
from .response import Body, HttpResponse
from .sse import SseMessage, SseParser, encode_message
from .store import (
    Pace,
    StreamChunk,
    StreamEnd,
    StreamInfo,
    StreamPage,
    StreamState,
    StreamStatus,
    StreamStore,
    TerminalState,
)
from .wakeups import WakeupSignals
from .writer import StreamWriter

__all__ = [
    "BaseStreamStore",
    "Body",
    "ClaimableStreamStore",
    "DurableStream",
    "EndHook",
    "EventBatch",
    "EventHook",
    "HttpResponse",
    "KeepAlive",
    "LiveReader",
    "MemoryStreamStore",
    "MoveHook",
    "Pace",
    "PagePoller",
    "PrepareHook",
    "SseMessage",
    "SseParser",
    "StreamChunk",
    "StreamClaim",
    "StreamEnd",
    "StreamEvent",
    "StreamInfo",
    "StreamPage",
    "StreamState",
    "StreamStatus",
    "StreamStore",
    "StreamWriter",
    "TerminalState",
    "WakeupSignals",
    "decode_chunk",
    "encode_chunk",
    "encode_message",
    "follow",
    "poll_pages",
]

publish(__name__, __all__)
