"""The trace of a close: one span for a week, from its barrier until its report is on the topic, with its phases.

The span is in memory: if this publisher loses the lead, the span ends, and the next leader begins another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from opentelemetry.trace import INVALID_SPAN, Span

from services.runtime import tracing


class CloseTrace:
    """The span of the week that is closing. Weeks close one after another."""

    def __init__(self) -> None:
        self._week: date | None = None
        self._span: Span = INVALID_SPAN
        self._drains_since: int | None = None
        self._written = False

    @contextmanager
    def capture(self, week: date) -> Iterator[None]:
        """The phase that stores the barrier. The week then drains."""
        with self._phase("capture barrier", week):
            yield
        self._drains_since = time.time_ns()

    @contextmanager
    def write(self, week: date) -> Iterator[None]:
        """The phase that proves the counts and writes the report, if no gate holds the week."""
        if self._drains_since is not None and self._week == week:
            with tracing.within(self._span), tracing.span("drain", start_ns=self._drains_since):
                self._drains_since = None
        with self._phase("write report", week):
            yield

    def wrote(self, revisions: int) -> None:
        """The number of revisions that the phase has written; without any, a gate holds the week."""
        tracing.annotate({"ddor.revisions": revisions, "ddor.held": not revisions})
        self._written = revisions > 0

    @contextmanager
    def send(self) -> Iterator[None]:
        """The phase that sends the written report. It ends the close."""
        if not self._written:
            yield
            return
        with tracing.within(self._span), tracing.span("send report"):
            yield
        self.end()

    def end(self) -> None:
        """End the span of the week, whatever its state."""
        self._span.end()
        self._week, self._span, self._drains_since, self._written = None, INVALID_SPAN, None, False

    @contextmanager
    def _phase(self, name: str, week: date) -> Iterator[None]:
        if self._week != week:
            self.end()
            self._week, self._span = week, tracing.begin("close week", {"ddor.week": str(week)})
        with tracing.within(self._span), tracing.span(name):
            yield
