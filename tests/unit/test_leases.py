"""services.aggregator.leases: fair shares, nobody's partition left alone, none held by two."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.aggregator.leases import EXPIRY, HEARTBEAT, Partition, Plan, plan
from tests.unit.sample_events import quick

NOW = datetime(2017, 2, 4, 6, tzinfo=UTC)
PARTITIONS = [Partition(topic, n) for topic in ("detainer-declined", "detainer-issued") for n in range(12)]


def owned(**shares: range) -> dict[Partition, str | None]:
    """All partitions, those of each named worker given by their place in PARTITIONS."""
    owners: dict[Partition, str | None] = dict.fromkeys(PARTITIONS)
    for name, places in shares.items():
        owners.update({PARTITIONS[place]: name for place in places})
    return owners


def seen(*names: str, ago: timedelta = timedelta(0)) -> dict[str, datetime]:
    return dict.fromkeys(names, NOW - ago)


def test_a_lone_worker_takes_everything() -> None:
    assert plan("a", {}, owned(), NOW) == Plan(tuple(PARTITIONS), ())


def test_of_two_each_takes_half() -> None:
    for name in "ab":
        assert len(plan(name, seen("a", "b"), owned(), NOW).take) == 12


def test_shares_that_do_not_divide_go_to_the_first_names() -> None:
    shares = {name: len(plan(name, seen(*"abcde"), owned(), NOW).take) for name in "abcde"}
    assert shares == {"a": 5, "b": 5, "c": 5, "d": 5, "e": 4}


def test_who_has_a_fair_share_keeps_it() -> None:
    assert plan("a", seen("a", "b"), owned(a=range(12), b=range(12, 24)), NOW) == Plan((), ())


def test_who_has_too_many_gives_up_the_excess_and_takes_nothing() -> None:
    found = plan("a", seen("a", "b"), owned(a=range(20)), NOW)
    assert found.take == ()
    assert found.give_up == tuple(PARTITIONS[12:20])


def test_who_lacks_some_does_not_take_from_the_living() -> None:
    assert plan("b", seen("a", "b"), owned(a=range(24)), NOW) == Plan((), ())


@pytest.mark.parametrize(
    ("ago", "alive"),
    [
        (timedelta(0), True),
        (EXPIRY - timedelta(microseconds=1), True),
        (EXPIRY, False),
        (EXPIRY * 100, False),
        (-EXPIRY, True),
    ],
)
def test_a_lease_is_free_exactly_when_the_heartbeat_is_as_old_as_the_expiry(ago: timedelta, alive: bool) -> None:
    found = plan("a", seen("b", ago=ago), owned(b=range(24)), NOW)
    assert found == (Plan((), ()) if alive else Plan(tuple(PARTITIONS), ()))


def test_a_lease_of_a_worker_that_nobody_knows_is_free() -> None:
    assert len(plan("a", seen("a"), owned(gone=range(24)), NOW).take) == 24


def test_i_am_alive_however_old_my_heartbeat_is() -> None:
    assert plan("a", seen("a", ago=EXPIRY * 2), owned(a=range(24)), NOW) == Plan((), ())


def test_more_workers_than_partitions_leave_the_last_ones_idle() -> None:
    names = [f"w{number:02}" for number in range(30)]
    assert [len(plan(name, seen(*names), owned(), NOW).take) for name in names] == [1] * 24 + [0] * 6


def test_several_heartbeats_fit_into_the_expiry() -> None:
    assert HEARTBEAT * 4 < EXPIRY


@dataclass
class Cluster:
    """Workers that plan on what they see and take by compare and set, as the database lets them."""

    owners: dict[Partition, str | None] = field(default_factory=owned)
    epochs: Counter[Partition] = field(default_factory=Counter)
    seen_at: dict[str, datetime] = field(default_factory=dict)
    now: datetime = NOW

    def round(self, living: list[str], simultaneous: bool) -> None:
        """One heartbeat of each; all see the same rows when they are simultaneous."""
        self.now += HEARTBEAT
        if simultaneous:
            self.seen_at |= dict.fromkeys(living, self.now)
            owners, epochs = dict(self.owners), Counter(self.epochs)
            for name in living:
                self._follow(name, plan(name, dict(self.seen_at), owners, self.now), epochs)
        else:
            for name in living:
                self.seen_at[name] = self.now
                self._follow(name, plan(name, self.seen_at, self.owners, self.now), Counter(self.epochs))

    def _follow(self, name: str, found: Plan, epochs: Counter[Partition]) -> None:
        assert not (found.take and found.give_up)
        for partition in found.give_up:
            assert self.owners[partition] == name
            self.owners[partition] = None
        for partition in found.take:
            if self.epochs[partition] == epochs[partition]:
                self.owners[partition] = name
                self.epochs[partition] += 1

    def assert_settled(self, living: list[str]) -> None:
        shares = Counter(dict.fromkeys(living, 0))
        for owner in self.owners.values():
            assert owner in living
            shares[owner] += 1
        assert max(shares.values()) - min(shares.values()) <= 1


def settle(cluster: Cluster, living: list[str], simultaneous: bool) -> None:
    """The expiry, then each worker may have to lose a race against every other once, and give up once."""
    for _ in range(EXPIRY // HEARTBEAT + len(living) + 2):
        cluster.round(living, simultaneous)
    cluster.assert_settled(living)


@pytest.mark.parametrize("simultaneous", [True, False], ids=["at once", "one by one"])
def test_workers_that_join_and_die_come_to_fair_shares(simultaneous: bool) -> None:
    cluster = Cluster()
    for living in (["a"], ["a", "b"], ["a", "b", "c", "d", "e"], ["c"], ["c", "a0"], [f"w{n:02}" for n in range(30)]):
        settle(cluster, living, simultaneous)


names = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)


@given(lives=st.lists(st.tuples(names, st.booleans()), min_size=1, max_size=5))
@quick
def test_any_history_of_workers_settles_and_then_nothing_moves(lives: list[tuple[list[str], bool]]) -> None:
    cluster = Cluster()
    for living, simultaneous in lives:
        settle(cluster, living, simultaneous)
        before = dict(cluster.owners), Counter(cluster.epochs)
        cluster.round(living, simultaneous)
        assert (cluster.owners, cluster.epochs) == before


@given(
    owners=st.lists(st.sampled_from([None, "a", "b", "c", "gone"]), min_size=24, max_size=24),
    ages=st.dictionaries(st.sampled_from("abc"), st.floats(0, 6)),
    me=st.sampled_from("abc"),
)
@quick
def test_a_plan_takes_only_what_is_free_and_gives_up_only_what_is_mine(
    owners: list[str | None], ages: dict[str, float], me: str
) -> None:
    holding = dict(zip(PARTITIONS, owners, strict=True))
    alive = {name for name, age in ages.items() if age < EXPIRY.total_seconds()} | {me}
    found = plan(me, {name: NOW - timedelta(seconds=age) for name, age in ages.items()}, holding, NOW)
    assert all(holding[partition] not in alive for partition in found.take)
    assert all(holding[partition] == me for partition in found.give_up)
