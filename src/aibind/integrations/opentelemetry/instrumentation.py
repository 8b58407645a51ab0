"""Turning telemetry on and off."""

from __future__ import annotations

from importlib.metadata import version

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import TracerProvider, get_tracer

from ..._observing import set_observer
from .metrics import Metrics
from .telemetry import Telemetry

__all__ = ["instrument", "uninstrument"]

SCOPE = "aibind"
"""The name of the instrumentation scope, and of the package that it is."""


def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    capture_messages: bool = False,
) -> None:
    """Report the replies and streams of this process to OpenTelemetry, until :func:`uninstrument`.

    The providers are OpenTelemetry's global ones by default. A reply is a span, after the semantic conventions for
    generative AI; calls that a framework makes within it are its children. No text is reported, unless
    ``capture_messages`` is true: then a span has the messages of the request, the system prompt and the answer. Calling
    it again replaces the options.
    """
    release = version(SCOPE)
    tracer = get_tracer(SCOPE, release, tracer_provider)
    metrics = Metrics(get_meter(SCOPE, release, meter_provider))
    set_observer(Telemetry(tracer, metrics, capture_messages=capture_messages))


def uninstrument() -> None:
    """Stop reporting. Replies under way are reported to their end."""
    set_observer(None)
