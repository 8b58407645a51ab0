"""Durable, resumable streams: events, server-sent events, stores, the writer and the followers."""

from __future__ import annotations

from .durable import DurableStream, EndHook, KeepAlive
from .events import StreamEvent, decode_chunk, encode_chunk
from .memory import MemoryStreamStore
from .sse import SseMessage, SseParser, SseResponse, encode_message
from .store import Pace, StreamChunk, StreamEnd, StreamPage, StreamState, StreamStatus, StreamStore
from .writer import StreamWriter

__all__ = [
    "DurableStream",
    "EndHook",
    "KeepAlive",
    "MemoryStreamStore",
    "Pace",
    "SseMessage",
    "SseParser",
    "SseResponse",
    "StreamChunk",
    "StreamEnd",
    "StreamEvent",
    "StreamPage",
    "StreamState",
    "StreamStatus",
    "StreamStore",
    "StreamWriter",
    "decode_chunk",
    "encode_chunk",
    "encode_message",
]
