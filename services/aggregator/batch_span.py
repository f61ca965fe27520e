"""The span of a batch: from the start of its decoding to its commit, with links to the requests of its records.

A batch that is dropped before it is written has no span. Its records are read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace import Span as TraceSpan

from services.aggregator.spans import Span
from services.runtime import trace_context, tracing

_BATCH: tracing.Attributes = {"messaging.system": "kafka", "messaging.operation.type": "process"}


def links(spans: Iterable[Span]) -> Sequence[Link]:
    """Links to the requests that sent these records; none if tracing is off."""
    if not tracing.is_on():
        return ()
    return trace_context.links_of(record.headers for span in spans for record in span.records)


def of_batch(records: int, began_ns: int, linked: Sequence[Link]) -> AbstractContextManager[TraceSpan]:
    """The span of a batch that is written now. Its decoding began at `began_ns`, in nanoseconds since 1970."""
    if not tracing.is_on():
        return tracing.OFF
    attributes = {**_BATCH, "messaging.batch.message_count": records}
    return tracing.span("count batch", SpanKind.CONSUMER, attributes, links=linked, start_ns=began_ns)


def counted(outcomes: Mapping[tuple[str, str], int]) -> None:
    """Add the number of records with each outcome. `outcomes` counts them by topic and outcome."""
    if not tracing.is_on():
        return
    numbers: Counter[str] = Counter()
    for (_, outcome), number in outcomes.items():
        numbers[f"ddor.records.{outcome}"] += number
    tracing.annotate(numbers)
