"""services.aggregator.leases: fair shares, no partition without an owner, none with two."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.log import Partition
from services.aggregator.leases import EXPIRY, HEARTBEAT, Plan, plan

NOW = datetime(2017, 2, 4, 6, tzinfo=UTC)
PARTITIONS = [Partition(topic, n) for topic in ("detainer-declined", "detainer-issued") for n in range(12)]


def owned(**shares: range) -> dict[Partition, str | None]:
    """All partitions; those of each named worker are given by their index in PARTITIONS."""
    owners: dict[Partition, str | None] = dict.fromkeys(PARTITIONS)
    for name, indexes in shares.items():
        owners.update({PARTITIONS[index]: name for index in indexes})
    return owners


def seen(*names: str, ago: timedelta = timedelta(0)) -> dict[str, datetime]:
    return dict.fromkeys(names, NOW - ago)


def test_a_single_worker_takes_all_partitions() -> None:
    assert plan("a", {}, owned(), NOW) == Plan(tuple(PARTITIONS), ())


def test_two_workers_take_half_each() -> None:
    for name in "ab":
        assert len(plan(name, seen("a", "b"), owned(), NOW).acquire) == 12


def test_shares_that_do_not_divide_go_to_the_first_names() -> None:
    shares = {name: len(plan(name, seen(*"abcde"), owned(), NOW).acquire) for name in "abcde"}
    assert shares == {"a": 5, "b": 5, "c": 5, "d": 5, "e": 4}


def test_a_worker_with_a_fair_share_keeps_it() -> None:
    assert plan("a", seen("a", "b"), owned(a=range(12), b=range(12, 24)), NOW) == Plan((), ())


def test_a_worker_with_too_many_releases_the_excess_and_takes_none() -> None:
    found = plan("a", seen("a", "b"), owned(a=range(20)), NOW)
    assert found.acquire == ()
    assert found.release == tuple(PARTITIONS[12:20])


def test_a_worker_with_too_few_does_not_take_from_live_workers() -> None:
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


def test_a_lease_of_an_unknown_worker_is_free() -> None:
    assert len(plan("a", seen("a"), owned(gone=range(24)), NOW).acquire) == 24


def test_a_worker_treats_itself_as_alive_whatever_its_heartbeat() -> None:
    assert plan("a", seen("a", ago=EXPIRY * 2), owned(a=range(24)), NOW) == Plan((), ())


def test_with_more_workers_than_partitions_the_last_are_idle() -> None:
    names = [f"w{number:02}" for number in range(30)]
    assert [len(plan(name, seen(*names), owned(), NOW).acquire) for name in names] == [1] * 24 + [0] * 6


def test_several_heartbeats_fit_into_the_expiry() -> None:
    assert HEARTBEAT * 4 < EXPIRY


@dataclass
class Cluster:
    """Workers that plan from the rows they see and acquire by compare-and-set, as in the database."""

    owners: dict[Partition, str | None] = field(default_factory=owned)
    epochs: Counter[Partition] = field(default_factory=Counter)
    seen_at: dict[str, datetime] = field(default_factory=dict)
    now: datetime = NOW

    def renew(self, living: list[str], simultaneous: bool) -> None:
        """One heartbeat of each worker. If simultaneous, all see the same rows."""
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
        assert not (found.acquire and found.release)
        for partition in found.release:
            assert self.owners[partition] == name
            self.owners[partition] = None
        for partition in found.acquire:
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
    """After the expiry, each worker may lose one race against every other worker, and release once."""
    for _ in range(EXPIRY // HEARTBEAT + len(living) + 2):
        cluster.renew(living, simultaneous)
    cluster.assert_settled(living)


@pytest.mark.parametrize("simultaneous", [True, False], ids=["at once", "one by one"])
def test_shares_are_fair_after_workers_join_and_die(simultaneous: bool) -> None:
    cluster = Cluster()
    for living in (["a"], ["a", "b"], ["a", "b", "c", "d", "e"], ["c"], ["c", "a0"], [f"w{n:02}" for n in range(30)]):
        settle(cluster, living, simultaneous)


names = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)


@given(lives=st.lists(st.tuples(names, st.booleans()), min_size=1, max_size=5))
def test_after_any_history_the_leases_become_stable(lives: list[tuple[list[str], bool]]) -> None:
    cluster = Cluster()
    for living, simultaneous in lives:
        settle(cluster, living, simultaneous)
        before = dict(cluster.owners), Counter(cluster.epochs)
        cluster.renew(living, simultaneous)
        assert (cluster.owners, cluster.epochs) == before


@given(
    owners=st.lists(st.sampled_from([None, "a", "b", "c", "gone"]), min_size=24, max_size=24),
    ages=st.dictionaries(st.sampled_from("abc"), st.floats(0, 6)),
    me=st.sampled_from("abc"),
)
def test_a_plan_takes_free_leases_and_releases_own_ones_only(
    owners: list[str | None], ages: dict[str, float], me: str
) -> None:
    holding = dict(zip(PARTITIONS, owners, strict=True))
    alive = {name for name, age in ages.items() if age < EXPIRY.total_seconds()} | {me}
    found = plan(me, {name: NOW - timedelta(seconds=age) for name, age in ages.items()}, holding, NOW)
    assert all(holding[partition] not in alive for partition in found.acquire)
    assert all(holding[partition] == me for partition in found.release)
