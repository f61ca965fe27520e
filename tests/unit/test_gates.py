"""services.publisher.gates: each gate has a finding at its limit and none just below."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schemas.log import Partition
from services.publisher import gates
from services.publisher.gates import Evidence, Thresholds

QUIET = Evidence(
    declines=0, old_declines=0, unissued_declines=0, open_conflicts=0, halted={}, by_agency={}, weeks_before={}
)


def found(**seen: Any) -> list[tuple[str, str]]:
    return [(flag.gate, flag.subject) for flag in gates.flags(replace(QUIET, **seen), Thresholds())]


def test_a_quiet_week_has_no_finding() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("count", "before", "fires"),
    [
        (142, [4, 6, 5], True),
        (50, [9], True),
        (49, [1], False),
        (50, [10], False),
        (51, [10], True),
        (50, [0, 0, 90], True),
        (50, [1, 19], False),
        (500, [], False),
    ],
)
def test_a_spike_is_at_least_fifty_and_more_than_five_times_the_median(
    count: int, before: list[int], fires: bool
) -> None:
    seen = found(by_agency={"travis": count, "other": 3}, weeks_before={"travis": before, "other": [900]})
    assert seen == ([("spike", "travis")] if fires else [])


@pytest.mark.parametrize(
    ("name", "gate", "of_all", "share"),
    [("old_declines", "old-cases", 20, 10), ("unissued_declines", "decline-without-issue", 20, 4)],
)
def test_a_share_fires_above_it_and_not_in_a_small_week(name: str, gate: str, of_all: int, share: int) -> None:
    assert found(declines=of_all, **{name: share + 1}) == [(gate, "declines")]
    assert found(declines=of_all, **{name: share}) == []
    assert found(declines=of_all - 1, **{name: of_all - 1}) == []


def test_each_threshold_decides() -> None:
    seen = replace(
        QUIET, declines=5, old_declines=2, unissued_declines=2, by_agency={"travis": 5}, weeks_before={"travis": [2]}
    )
    low = Thresholds(
        spike_from=5, spike_factor=2, old_from=5, old_percent=39, old_days=90, unissued_from=5, unissued_percent=39
    )
    assert [flag.gate for flag in gates.flags(seen, low)] == ["spike", "old-cases", "decline-without-issue"]
    assert "2 of 5 declines were issued more than 90 days before" in {flag.detail for flag in gates.flags(seen, low)}
    for name, still in (("spike_from", 2), ("spike_factor", 2), ("old_from", 2), ("old_percent", 2)):
        assert len(gates.flags(seen, replace(low, **{name: getattr(low, name) + 1}))) == still, name
    for name in ("unissued_from", "unissued_percent"):
        assert len(gates.flags(seen, replace(low, **{name: getattr(low, name) + 1}))) == 2, name


def test_one_open_conflict_is_enough() -> None:
    assert found(open_conflicts=1) == [("open-conflicts", "facts")]


def test_a_halted_partition_is_reported_with_its_reason() -> None:
    halted = {
        Partition("detainer-issued", 3): "TooManyRejects: 201",
        Partition("detainer-declined", 0): "PositionLost: gone",
    }
    flags = gates.flags(replace(QUIET, halted=halted), Thresholds())
    assert [(flag.gate, flag.subject, flag.detail) for flag in flags] == [
        ("halted-partition", "detainer-declined/0", "PositionLost: gone"),
        ("halted-partition", "detainer-issued/3", "TooManyRejects: 201"),
    ]


def test_all_findings_are_in_a_fixed_order() -> None:
    seen = found(
        declines=100, old_declines=99, unissued_declines=99, open_conflicts=2, halted={Partition("a", 0): "x"},
        by_agency={"z": 60, "a": 60}, weeks_before={"z": [1], "a": [1]},
    )  # fmt: skip
    gates_only = [gate for gate, _ in seen]
    assert gates_only == ["spike", "spike", "old-cases", "decline-without-issue", "open-conflicts", "halted-partition"]
    assert [subject for gate, subject in seen if gate == "spike"] == ["a", "z"]
