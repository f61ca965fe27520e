"""services.runtime.connection_limits and descriptors: limits on connections, and the process's limit on open files."""

from __future__ import annotations

import resource

import pytest

from services.runtime import descriptors
from services.runtime.connection_limits import REFUSALS, ConnectionLimiter
from services.runtime.errors import ConfigurationError


def test_one_address_has_a_limited_number_of_slots_without_a_key() -> None:
    limiter = ConnectionLimiter(100, per_address=3)
    slots = [limiter.enter("a") for _ in range(4)]
    assert [slot.is_served for slot in slots] == [True, True, True, False]
    assert slots[3].is_refused
    assert limiter.enter("b").is_served
    slots[0].leave()
    assert limiter.enter("a").is_served


def test_an_authenticated_client_frees_the_slot_of_its_address() -> None:
    limiter = ConnectionLimiter(100, per_address=1)
    first = limiter.enter("a")
    assert not limiter.enter("a").is_served
    first.authenticated()
    first.authenticated()
    assert limiter.enter("a").is_served
    first.leave()
    assert not limiter.enter("a").is_served


def test_half_of_the_slots_are_for_clients_without_a_key_and_the_total_is_limited() -> None:
    limiter = ConnectionLimiter(10, per_address=100)
    authenticated = [limiter.enter("a") for _ in range(5)]
    assert not limiter.enter("b").is_served
    for slot in authenticated:
        slot.authenticated()
    anonymous = [limiter.enter("b") for _ in range(5)]
    assert all(slot.is_served for slot in anonymous)
    assert not limiter.enter("c").is_served
    authenticated[0].leave()
    assert not limiter.enter("c").is_served, "five clients without a key are still connected"
    anonymous[0].authenticated()
    assert limiter.enter("c").is_served


def test_the_first_connections_above_the_limit_get_a_response_and_others_none() -> None:
    limiter = ConnectionLimiter(2, per_address=1)
    limiter.enter("a")
    refused = [limiter.enter("a") for _ in range(REFUSALS)]
    assert all(slot.is_refused for slot in refused)
    assert not limiter.enter("a").is_refused
    refused[0].leave()
    refused[0].leave()
    assert limiter.enter("a").is_refused


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    limits = [(256, 2_000)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.append(new))
    return limits


def test_the_limit_on_descriptors_is_raised_as_far_as_needed(limit: list[tuple[int, int]]) -> None:
    descriptors.ensure(1_024)
    assert limit[1:] == [(1_024 + REFUSALS + descriptors.OTHERS, 2_000)]
    descriptors.ensure(1_024)
    assert len(limit) == 2


def test_a_limit_that_cannot_be_raised_is_reported(limit: list[tuple[int, int]]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"4,256 open files, but the limit of this process is 2,000.*DDOR_CONNECTIONS"
    ):
        descriptors.ensure(4_000)


def test_no_limit_is_enough(limit: list[tuple[int, int]]) -> None:
    limit.append((resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    descriptors.ensure(100_000)
    limit.append((256, resource.RLIM_INFINITY))
    descriptors.ensure(1_000)
    assert limit[-1] == (1_256, resource.RLIM_INFINITY)
