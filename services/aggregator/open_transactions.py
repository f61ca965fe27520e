"""Partitions that an open transaction blocks: records after the transaction's first are not read until it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.log import Partition
from services.runtime import metrics, transactions
from services.runtime.logs import get

log = get(__name__)

_BLOCKED_SECONDS = 10.0
"""A transaction that is open for a shorter time is normal operation."""


@dataclass(slots=True)
class _Blocked:
    """First offset of the open transaction, time of first observation (monotonic seconds), whether it was logged."""

    offset: int
    seen_at: float
    reported: bool = False


class OpenTransactionMonitor:
    """Reports partitions that an open transaction blocks for 10 s or longer: a metric, and one log line each."""

    def __init__(self) -> None:
        self._blocked: dict[Partition, _Blocked] = {}

    def observe(self, blocked: Mapping[Partition, int], now: float) -> None:
        """Update from one look at all partitions. `blocked` maps each blocked partition to the transaction's offset."""
        for partition in self._blocked.keys() - blocked.keys():
            self._end(partition)
        for partition, offset in blocked.items():
            before = self._blocked.get(partition)
            if before is None or before.offset != offset:
                self._end(partition)
                before = self._blocked[partition] = _Blocked(offset, now)
            if now - before.seen_at >= _BLOCKED_SECONDS:
                self._report(partition, before)

    def _report(self, partition: Partition, one: _Blocked) -> None:
        metrics.OPEN_TRANSACTION.labels(partition.topic, partition.number).set(one.offset)
        if not one.reported:
            one.reported = True
            detail = f"{transactions.message(partition, one.offset)}; see the runbook open-transaction"
            log.warning("open-transaction", partition=str(partition), offset=one.offset, detail=detail)

    def _end(self, partition: Partition) -> None:
        one = self._blocked.pop(partition, None)
        if one is not None and one.reported:
            metrics.OPEN_TRANSACTION.remove(partition.topic, partition.number)
            log.info("open-transaction-ended", partition=str(partition), offset=one.offset)
