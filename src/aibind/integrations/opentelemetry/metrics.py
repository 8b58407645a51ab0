"""The instruments of metrics."""

from __future__ import annotations

from opentelemetry.metrics import Meter

__all__ = ["Metrics"]

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The boundaries that the conventions recommend for durations, in seconds."""

_FLUSH_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_TOKENS = tuple(4.0**power for power in range(14))

_CHARS = (1, 8, 32, 128, 512, 2048, 8192, 32768, 131072, 524288)


class Metrics:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        self.duration = meter.create_histogram(
            "gen_ai.client.operation.duration", "s", "Duration of a reply", explicit_bucket_boundaries_advisory=_SECONDS
        )
        self.first_chunk = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            "Time to the first event of a reply",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens of a reply", explicit_bucket_boundaries_advisory=_TOKENS
        )
        self.flush_duration = meter.create_histogram(
            "aibind.stream.flush.duration",
            "s",
            "Duration of a write of chunks to the stream store",
            explicit_bucket_boundaries_advisory=_FLUSH_SECONDS,
        )
        self.flush_size = meter.create_counter("aibind.stream.flush.size", "{char}", "Characters written to the store")
        self.chunks = meter.create_counter("aibind.stream.chunks", "{chunk}", "Chunks written to the store")
        self.lost_leases = meter.create_counter(
            "aibind.stream.lease.losses",
            "{stream}",
            "Streams ended or taken while this process produced them",
        )
        self.takeovers = meter.create_counter(
            "aibind.stream.takeovers", "{stream}", "Streams of lost producers that this process ended or continued"
        )
        self.lag = meter.create_histogram(
            "aibind.follower.lag",
            "{char}",
            "Characters that had gathered when a follower read them",
            explicit_bucket_boundaries_advisory=_CHARS,
        )
