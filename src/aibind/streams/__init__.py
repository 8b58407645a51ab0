"""Durable, resumable streams: events, stores, producers and followers, and server-sent events."""

from __future__ import annotations

from .batch import EventBatch
from .durable import DurableStream, EndHook, EventHook, KeepAlive, follow
from .events import StreamEvent, decode_chunk, encode_chunk
from .memory import MemoryStreamStore
from .response import Body, HttpResponse
from .sse import SseMessage, SseParser, encode_message
from .store import Pace, StreamChunk, StreamEnd, StreamPage, StreamState, StreamStatus, StreamStore, TerminalState
from .writer import StreamWriter

__all__ = [
    "Body",
    "DurableStream",
    "EndHook",
    "EventBatch",
    "EventHook",
    "HttpResponse",
    "KeepAlive",
    "MemoryStreamStore",
    "Pace",
    "SseMessage",
    "SseParser",
    "StreamChunk",
    "StreamEnd",
    "StreamEvent",
    "StreamPage",
    "StreamState",
    "StreamStatus",
    "StreamStore",
    "StreamWriter",
    "TerminalState",
    "decode_chunk",
    "encode_chunk",
    "encode_message",
    "follow",
]
