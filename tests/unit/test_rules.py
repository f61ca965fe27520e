"""services.publisher.rules: a report's inputs as contents kept by digest, and nothing of a key in them."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest

from schemas import taxonomy
from schemas.acceptance import RULES_VERSION
from schemas.jurisdiction import registry
from services.publisher import rules
from services.publisher.gates import Thresholds
from services.publisher.rules import NAMES, InputMissingError, Rules
from services.runtime.agencies import Agencies
from tests.unit.sample_reports import CALENDAR, EVERYWHERE, Declined, listed, report, snapshot

LOCAL = listed(("vegas", "issued declined", "32*"), ("nassau", "issued", "36059"))


def current(known: Agencies = LOCAL, notes: tuple[str, ...] = ("A note.",)) -> Rules:
    return rules.current(CALENDAR, known, demonstration=True, notes=list(notes))


def test_rules_from_kept_contents_are_those_of_today() -> None:
    today = current()
    kept = Rules(dict(today.contents))
    assert kept.digests == today.digests == {n: hashlib.sha256(c).hexdigest() for n, c in today.contents.items()}
    assert set(today.contents) == set(NAMES)
    assert (kept.zone, kept.first_day) == ("America/New_York", "SATURDAY")
    assert (kept.demonstration, kept.notes, kept.acceptance) == (True, ["A note."], RULES_VERSION)
    assert kept.places == {one.code: (one.name, one.state) for one in registry()}
    assert set(kept.tables["offenses"]) == set(taxonomy.offenses())
    assert [(one.name, one.kinds, one.jurisdictions) for one in kept.agencies] == [
        ("vegas", ("declined", "issued"), ("32*",)),
        ("nassau", ("issued",), ("36059",)),
    ]
    assert kept.agencies[0].valid_from == datetime(1, 1, 1, tzinfo=UTC)


def test_a_report_from_kept_contents_is_the_same_report() -> None:
    seen = snapshot({"32003": 5, "36059": 2}, {"32003": 2}, declines=[Declined(["90D:charged"]), Declined(None)])
    assert report(seen, Rules(dict(current().contents))).digest == report(seen, current()).digest


def test_policies_of_then_hold_for_a_report_of_then() -> None:
    policies = json.loads(current().contents["policies"])
    assert current().thresholds == Thresholds()
    policies["gates"]["spike_from"] = 7
    then = Rules({**current().contents, "policies": json.dumps(policies).encode()})
    assert then.thresholds == Thresholds(spike_from=7)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_input_is_named(name: str) -> None:
    contents = {other: content for other, content in current().contents.items() if other != name}
    with pytest.raises(InputMissingError, match=f"the input {name} is missing"):
        Rules(contents)


def test_no_input_holds_anything_of_a_key() -> None:
    keys = [key.sha256 for one in LOCAL.listed for key in one.key_sha256]
    for content in current().contents.values():
        assert b"sha256" not in content
        assert not [key for key in keys if key.encode() in content]
    assert json.loads(current(listed(("vegas", "issued", "32*"))).contents["agencies"]) == [
        {
            "name": "vegas",
            "kinds": ["issued"],
            "jurisdictions": ["32*"],
            "valid_from": "0001-01-01T00:00:00+00:00",
            "valid_to": "9999-12-31T00:00:00+00:00",
        }
    ]


def test_only_what_changed_has_another_digest() -> None:
    here = current().digests
    assert {name for name, digest in current(EVERYWHERE).digests.items() if digest != here[name]} == {"agencies"}
    assert {name for name, digest in current(notes=()).digests.items() if digest != here[name]} == {"presentation"}
