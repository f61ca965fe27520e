"""Open transactions of Kafka producers. They hide later records from consumers that read committed records only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from services.runtime.errors import CallerError

_Partition = TypeVar("_Partition")


class OpenTransactionError(CallerError):
    """A producer's open transaction hides committed records from consumers. See the runbook open-transaction."""


def blocked(stable: Mapping[_Partition, int], ends: Mapping[_Partition, int]) -> dict[_Partition, int]:
    """The partitions that an open transaction blocks, each with the offset at which the transaction begins.

    `stable`: last stable offsets, up to which consumers of committed records read. `ends`: high watermarks. Request
    `ends` first; a record written between the two requests then makes no difference.
    """
    return {partition: offset for partition, offset in stable.items() if offset < ends.get(partition, offset)}


def message(partition: object, offset: int) -> str:
    """The sentence for logs, `ddor status` and errors."""
    return f"an open transaction blocks {partition} since offset {offset}"
