"""services.aggregator.log: when reading on would skip or repeat records."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest
from aiokafka.errors import KafkaTimeoutError

from services.aggregator import log as module
from services.aggregator.log import Log, Position, position_lost, theirs
from services.runtime import kafka
from tests.support.sessions import ISSUED_0

READ, OTHER = b"digest of the record that was read", b"digest of another record"


@pytest.mark.parametrize(
    ("next_offset", "last_offset", "start", "end", "found", "why"),
    [
        (0, None, 0, 0, None, None),
        (0, None, 0, 9, None, None),
        (9, 8, 0, 9, READ, None),
        (9, 8, 8, 9, READ, None),
        (5, 4, 0, 9, READ, None),
        (9, 6, 0, 9, READ, None),
        (9, 6, 7, 9, None, None),
        (9, 8, 9, 9, None, None),
        (0, None, 1, 9, None, "log starts at 1"),
        (5, 4, 6, 9, None, "log starts at 6"),
        (9, 8, 0, 8, None, "log ends at 8"),
        (9, 8, 0, 0, None, "log ends at 0"),
        (9, 8, 0, 9, OTHER, "made anew"),
        (9, 8, 0, 20, OTHER, "made anew"),
        (9, 6, 0, 9, None, "made anew"),
    ],
    ids=[
        "nothing read, log empty",
        "nothing read",
        "at the end",
        "only the last record left",
        "in the middle",
        "behind a gap",
        "the last record was deleted in time",
        "all that was read was deleted in time",
        "the first record was deleted before it was read",
        "records were deleted before they were read",
        "the log is one record short",
        "the topic was made anew and is empty",
        "another record stands there",
        "the topic was made anew and has grown beyond",
        "no record stands there",
    ],
)
def test_a_position_is_lost_when_the_log_is_not_the_one_that_was_read(
    next_offset: int, last_offset: int | None, start: int, end: int, found: bytes | None, why: str | None
) -> None:
    position = Position(ISSUED_0, next_offset, last_offset, None if last_offset is None else READ)
    reason = position_lost(position, start, end, found)
    assert (reason is None) if why is None else (reason is not None and why in reason)


def test_a_partition_has_the_client_librarys_name() -> None:
    assert theirs(ISSUED_0) == ("detainer-issued", 0)
    assert str(ISSUED_0) == "detainer-issued/0"


async def test_brokers_that_do_not_answer_are_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client asks one broker after another, each for as long as a request may take."""

    async def silent(*_: object) -> NoReturn:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    monkeypatch.setattr(kafka, "partitions", silent)
    log = Log({})
    try:
        with pytest.raises(KafkaTimeoutError):
            await log.partitions()
    finally:
        await log.stop()
