"""services.runtime.kafka_access: the missing rights of a response."""

from __future__ import annotations

import pytest

from services.runtime.kafka_access import AccessCheck, lacking
from services.runtime.kafka_rights import READ_EVENTS, WRITE_EVENTS, MissingRightError, Operation, Right

_DENIED, _UNKNOWN, _NONE = 29, 3, -(2**31)


def _topic(right: Right, error: int, *operations: Operation) -> tuple[int, str, bool, list[object], int]:
    return error, right.name, False, [], sum(1 << one for one in operations) if operations else _NONE


def test_a_topic_without_the_operation_lacks_the_right() -> None:
    first, second, third = WRITE_EVENTS
    topics = [
        _topic(first, 0, Operation.DESCRIBE, Operation.READ),
        _topic(second, 0, Operation.DESCRIBE, Operation.WRITE),
        _topic(third, _DENIED),
    ]
    assert lacking(WRITE_EVENTS, topics) == [first, third]
    assert lacking(READ_EVENTS[:1], topics) == []


def test_a_missing_topic_and_a_broker_that_does_not_report_operations_lack_nothing() -> None:
    first, second, third = WRITE_EVENTS
    assert lacking(WRITE_EVENTS, [_topic(first, _UNKNOWN), _topic(second, 0)]) == []
    assert lacking(WRITE_EVENTS, [(0, third.name, False, [], 0)]) == []


def test_the_sentence_names_each_right_and_the_command() -> None:
    text = str(MissingRightError(*WRITE_EVENTS[:2]))
    assert "Write on topic detainer-issued, Write on topic detainer-declined: run `ddor topics apply --acls`" in text


async def test_a_check_is_repeated_after_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[Right, ...]] = []

    async def check_on(_: object, rights: tuple[Right, ...], __: float) -> None:
        checked.append(rights)

    monkeypatch.setattr("services.runtime.kafka_access.check_on", check_on)
    times = [100.0]
    access = AccessCheck(WRITE_EVENTS, lambda: times[-1])
    numbers = []
    for time in (100.1, 104.9, 105.0, 109.9, 110.0):
        times.append(time)
        await access.repeat(None)  # type: ignore[arg-type]  # the fake does not use it
        numbers.append(len(checked))
    assert numbers == [0, 0, 1, 1, 2]
    assert set(checked) == {WRITE_EVENTS}
