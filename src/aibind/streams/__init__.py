"""Durable, resumable streams: events, server-sent events, stores, the writer and the followers."""

from __future__ import annotations

from .base import BaseStreamStore
from .durable import DurableStream, EndHook, KeepAlive
from .events import StreamEvent, decode_chunk, encode_chunk
from .memory import MemoryStreamStore
from .polling import PagePoller, poll_pages
from .response import Body, HttpResponse
from .sse import SseMessage, SseParser, encode_message
from .store import Pace, StreamChunk, StreamEnd, StreamPage, StreamState, StreamStatus, StreamStore, TerminalState
from .wakeups import WakeupSignals
from .writer import StreamWriter

__all__ = [
    "BaseStreamStore",
    "Body",
    "DurableStream",
    "EndHook",
    "HttpResponse",
    "KeepAlive",
    "MemoryStreamStore",
    "Pace",
    "PagePoller",
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
    "WakeupSignals",
    "decode_chunk",
    "encode_chunk",
    "encode_message",
    "poll_pages",
]
