"""services.runtime.trace_export.RateLimitedSampler: clients cannot make it sample more than its limit."""

from __future__ import annotations

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from services.runtime.trace_export import RateLimitedSampler

_SPAN = SpanContext(1, 1, True, TraceFlags(1))
ASKED = set_span_in_context(NonRecordingSpan(_SPAN), Context())
UNSAMPLED = set_span_in_context(NonRecordingSpan(SpanContext(1, 1, True, TraceFlags(0))), Context())


class Sampling:
    """A sampler with a clock, and how many of many spans it samples."""

    def __init__(self, per_second: float) -> None:
        self.now = 0.0
        self._sampler = RateLimitedSampler(per_second, lambda: self.now)

    def of(self, many: int, parent: Context, kind: SpanKind = SpanKind.SERVER, links: list[Link] | None = None) -> int:
        decisions = [self._sampler.should_sample(parent, 1, "any", kind, {}, links) for _ in range(many)]
        return sum(one.decision is Decision.RECORD_AND_SAMPLE for one in decisions)


@pytest.mark.parametrize("parent", [Context(), ASKED], ids=["no parent", "a sampled parent"])
@pytest.mark.parametrize("kind", [SpanKind.SERVER, SpanKind.PRODUCER, SpanKind.CONSUMER])
def test_requests_windows_and_batches_are_limited_whatever_the_client_asks_for(parent: Context, kind: SpanKind) -> None:
    sampling = Sampling(10)
    assert sampling.of(1_000, parent, kind) == 10
    sampling.now = 0.5
    assert sampling.of(1_000, parent, kind) == 5
    sampling.now = 3_600
    assert sampling.of(1_000, parent, kind) == 10, "an idle hour is not saved up"


def test_a_rate_below_one_samples_one_span_now_and_then() -> None:
    sampling = Sampling(0.1)
    assert sampling.of(100, ASKED) == 1
    sampling.now = 9.9
    assert sampling.of(100, ASKED) == 0
    sampling.now = 10.1
    assert sampling.of(100, ASKED) == 1


@pytest.mark.parametrize("kind", SpanKind)
def test_an_unsampled_trace_stays_unsampled(kind: SpanKind) -> None:
    assert Sampling(1_000).of(10, UNSAMPLED, kind, [Link(_SPAN)]) == 0


def test_phases_and_linked_batches_are_sampled_above_the_limit() -> None:
    sampling = Sampling(1)
    assert sampling.of(10, ASKED) == 1
    assert sampling.of(10, ASKED, SpanKind.INTERNAL) == 10
    assert sampling.of(10, Context(), SpanKind.CONSUMER, [Link(_SPAN)]) == 10
