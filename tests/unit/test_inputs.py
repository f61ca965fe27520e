"""services.publisher.inputs: the inputs of a report by digest, without any part of a key."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest

from schemas import taxonomy
from schemas.acceptance import RULES_VERSION
from schemas.jurisdiction import registry
from services.publisher import inputs
from services.publisher.gates import Thresholds
from services.publisher.inputs import NAMES, InputMissingError, ReportInputs
from services.runtime.agencies import Agencies
from tests.unit.sample_reports import CALENDAR, EVERYWHERE, Declined, listed, report, snapshot

LOCAL = listed(("vegas", "issued declined", "32*"), ("nassau", "issued", "36059"))


def current(known: Agencies = LOCAL, notes: tuple[str, ...] = ("A note.",)) -> ReportInputs:
    return inputs.current(CALENDAR, known, demonstration=True, notes=list(notes))


def test_inputs_from_stored_contents_are_the_same() -> None:
    today = current()
    kept = ReportInputs(dict(today.contents))
    assert kept.digests == today.digests == {n: hashlib.sha256(c).hexdigest() for n, c in today.contents.items()}
    assert set(today.contents) == set(NAMES)
    assert (kept.zone, kept.first_day) == ("America/New_York", "SATURDAY")
    assert (kept.demonstration, kept.notes) == (True, ["A note."])
    assert json.loads(kept.contents["rules"]) == {"acceptance": RULES_VERSION}
    assert kept.jurisdictions == {one.code: (one.name, one.state) for one in registry()}
    assert set(kept.tables["offenses"]) == set(taxonomy.offenses())
    assert [(one.name, one.kinds, one.jurisdictions) for one in kept.agencies] == [
        ("vegas", ("declined", "issued"), ("32*",)),
        ("nassau", ("issued",), ("36059",)),
    ]
    assert kept.agencies[0].valid_from == datetime(1, 1, 1, tzinfo=UTC)


def test_a_report_from_stored_contents_is_the_same() -> None:
    seen = snapshot({"32003": 5, "36059": 2}, {"32003": 2}, declines=[Declined(["90D:charged"]), Declined(None)])
    assert report(seen, ReportInputs(dict(current().contents))).digest == report(seen, current()).digest


def test_a_past_report_uses_the_policies_of_its_time() -> None:
    policies = json.loads(current().contents["policies"])
    assert current().thresholds == Thresholds()
    policies["gates"]["spike_from"] = 7
    then = ReportInputs({**current().contents, "policies": json.dumps(policies).encode()})
    assert then.thresholds == Thresholds(spike_from=7)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_input_is_named(name: str) -> None:
    contents = {other: content for other, content in current().contents.items() if other != name}
    with pytest.raises(InputMissingError, match=f"the input {name} is missing"):
        ReportInputs(contents)


def test_no_input_contains_any_part_of_a_key() -> None:
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


def test_only_changed_inputs_have_another_digest() -> None:
    here = current().digests
    assert {name for name, digest in current(EVERYWHERE).digests.items() if digest != here[name]} == {"agencies"}
    assert {name for name, digest in current(notes=()).digests.items() if digest != here[name]} == {"presentation"}
