"""A release that supersedes another: counts are those of the later release alone, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.importer import sending
from services.importer.amending import UNCHANGED
from services.importer.superseding import Overlap
from services.runtime.errors import CallerError
from tests.unit.sample_releases import (
    DECLINED,
    DUPLICATE,
    LIFTED,
    KilledError,
    Ledger,
    Release,
    Released,
    import_release,
)

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""SQLite waits for a disk, and each example has several indexes."""


@pytest.fixture(autouse=True, scope="module")
def small_batches() -> Iterator[None]:
    """Three rows per request."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sending, "ROWS_PER_REQUEST", 3)
        yield


A, B, C = (Released(person=name * 8, born=f"199{place}") for place, name in enumerate("abc"))


def but(row: Released, **changes: object) -> Released:
    return Released(**{name: getattr(row, name) for name in Released.__slots__} | changes)


async def chain(directory: Path, *releases: Release) -> tuple[Ledger, Overlap | None]:
    """Import releases, each superseding the one before."""
    ledger, before, overlap = Ledger(), None, None
    for place, release in enumerate(releases):
        name = f"release-{place}"
        _, overlap = await import_release(ledger, directory, name, release, before)
        before = name
    return ledger, overlap


async def test_only_differences_are_sent(tmp_path: Path) -> None:
    ledger = Ledger()
    await import_release(ledger, tmp_path, "march", [A, B, but(C, lift=DECLINED)])
    ledger.sent.clear()
    later = [but(A, lift=DECLINED), but(C, lift=DECLINED), but(A, facility="WASHOE")]
    journal, overlap = await import_release(ledger, tmp_path, "august", later, "march")
    assert overlap == Overlap(both=2, only_earlier=1, only_later=1, changed=1)
    sent = [(one["type"], one["data"]["version"], one["data"].get("withdrawn_reason")) for one in ledger.sent]
    assert sent == [
        ("detainer-declined", 1, None),
        ("detainer-issued", 1, None),
        ("detainer-issued", 2, "not-in-later-release"),
    ]
    progress = journal.progress
    assert (progress.rows, progress.accepted, progress.rejected) == (4, 4, 0)
    assert progress.parts == {"sheet 'A'": 3, "not in this release": 1}
    assert progress.marks == {"withdrawn: not-in-later-release": 1, UNCHANGED: 1}


async def test_a_decline_that_is_gone_is_withdrawn_and_may_return(tmp_path: Path) -> None:
    declined = but(A, lift=DECLINED)
    ledger, _ = await chain(tmp_path, [declined], [A], [A], [declined])
    versions = [(one["type"], one["data"]["version"]) for one in ledger.sent]
    assert versions == [
        ("detainer-issued", 1), ("detainer-declined", 1), ("detainer-declined", 2), ("detainer-declined", 3),
    ]  # fmt: skip
    assert ledger.counted()["declined", "32003", "CLARKNV"] == 1


async def test_a_row_that_returns_is_the_same_detainer(tmp_path: Path) -> None:
    ledger, overlap = await chain(tmp_path, [A, B], [A], [A], [A, B])
    assert overlap == Overlap(both=1, only_earlier=0, only_later=1, changed=0)
    assert [one["data"]["version"] for one in ledger.sent] == [1, 1, 2, 3]
    assert len(ledger.facts) == 2


async def test_rows_whose_identifiers_changed_are_matched_by_steady_attributes(tmp_path: Path) -> None:
    later = [but(A, person="x" * 8), but(B, person="y" * 8)]
    ledger, overlap = await chain(tmp_path, [A, B], later, [*later, but(A, person="z" * 8)])
    assert overlap == Overlap(both=2, only_earlier=0, only_later=1, changed=0)
    assert len(ledger.sent) == len(ledger.facts) == 3


async def test_an_identity_that_another_row_has_is_not_given_twice(tmp_path: Path) -> None:
    """The second release gives A's identity to X; in the third, A's own key is back beside X."""
    x = but(A, person="x" * 8)
    ledger, overlap = await chain(tmp_path, [A], [x], [x, A])
    assert overlap == Overlap(both=1, only_earlier=0, only_later=1, changed=0)
    assert len(ledger.facts) == 2


async def test_rows_of_one_key_are_matched_by_their_attributes_first(tmp_path: Path) -> None:
    """Without identifiers a dropped row must not shift the identities of those below it."""
    rows = [but(A, person="", born=str(year)) for year in range(1980, 1990)]
    ledger, overlap = await chain(tmp_path, rows, rows[1:])
    assert overlap == Overlap(both=9, only_earlier=1, only_later=0, changed=0)
    assert len(ledger.sent) == 11


@pytest.mark.parametrize("other", [None, "elsewhere"])
async def test_an_import_continues_only_with_what_it_supersedes(tmp_path: Path, other: str | None) -> None:
    ledger = Ledger()
    for name in ("march", "elsewhere"):
        await import_release(ledger, tmp_path, name, [A])
    await import_release(ledger, tmp_path, "august", [A, B], "march")
    with pytest.raises(CallerError, match="was begun with --supersedes march"):
        await import_release(ledger, tmp_path, "august", [A, B], other)


async def test_a_release_is_superseded_once_and_when_it_is_finished(tmp_path: Path) -> None:
    ledger = Ledger(kill_at=1)
    with pytest.raises(KilledError):
        await import_release(ledger, tmp_path, "march", [A])
    with pytest.raises(CallerError, match="is not finished"):
        await import_release(ledger, tmp_path, "august", [A], "march")
    await import_release(ledger, tmp_path, "march", [A])
    await import_release(ledger, tmp_path, "august", [A], "march")
    with pytest.raises(CallerError, match="is superseded by august already: supersede august instead"):
        await import_release(ledger, tmp_path, "september", [A], "march")


def _releases() -> st.SearchStrategy[list[Released]]:
    return st.lists(
        st.builds(
            Released,
            person=st.sampled_from(["", "a", "b", "c"]),
            born=st.sampled_from(["1990", "1991"]),
            facility=st.sampled_from(["CLARKNV", "WASHOE"]),
            jurisdiction=st.sampled_from(["32003", "32031"]),
            lift=st.sampled_from([LIFTED, DECLINED, DUPLICATE]),
            refused=st.sampled_from([False, False, False, True]),
        ),
        max_size=10,
    )


@given(st.lists(_releases(), min_size=2, max_size=4), st.integers(1, 12), st.booleans())
async def test_counts_are_those_of_the_last_release_alone(
    releases: list[list[Released]], kill_at: int, stored_first: bool
) -> None:
    alone, ledger = Ledger(), Ledger(kill_at=kill_at, stored_first=stored_first)
    with TemporaryDirectory(dir=MEMORY) as temporary:
        directory = Path(temporary)
        await import_release(alone, directory, "alone", releases[-1])
        before = None
        for place, release in enumerate(releases):
            name = f"release-{place}"
            try:
                await import_release(ledger, directory, name, release, before)
            except KilledError:
                await import_release(ledger, directory, name, release, before)
            before = name
    assert ledger.counted() == alone.counted()
