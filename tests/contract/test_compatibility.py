"""What was released stays: old writers with the reader of today, and old readers with the writer of today.

Agencies write detainer events and we read them. We write reports and others read them, ignoring fields that they do not
know. `schemas/released/README.md` says how a release is made.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator

from schemas import export
from schemas.acceptance import accept
from tests.support import examples, release
from tests.support.compatibility import Schema, lenient, refused
from tests.support.golden import Document, golden, mutated
from tests.support.release import RELEASED

_WRITTEN = ("report-ready", "report")
_TODAY = export.documents()


def _paths(*names: str) -> list[Path]:
    return [path for name in names for path in sorted(RELEASED.glob(f"*/{name}.schema.json"))]


def _name(path: Path) -> str:
    return path.name.removesuffix(".schema.json")


def _schema(path: Path) -> Schema:
    schema: Schema = json.loads(path.read_text(encoding="utf-8"))
    return schema


_READ = ("detainer-issued", "detainer-declined", "week-attested")
read = pytest.mark.parametrize("path", _paths(*_READ), ids=lambda path: f"{path.parent.name}/{_name(path)}")


def test_a_release_never_changes() -> None:
    assert release.digests() == release.SUMS.read_text(encoding="utf-8")


def test_all_events_are_released() -> None:
    assert {_name(path) for path in _paths(*_READ)} == {*_READ}


@read
def test_new_reader_old_writer_all_that_a_release_allows_is_allowed(path: Path) -> None:
    assert refused(_schema(path), _TODAY[_name(path)]) == [], (
        "agencies that write by the release would be refused; make new fields optional and keep codes"
    )


@given(mutated())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_new_reader_old_writer_whatever_is_valid_under_a_release_is_valid_today(document: Document) -> None:
    for path in sorted(RELEASED.glob(f"*/{document.get('type')}.schema.json")):
        if Draft202012Validator(_schema(path)).is_valid(document):
            golden(document["type"]).validate(document)


@pytest.mark.parametrize("path", sorted(RELEASED.glob("*/accepted.ndjson")), ids=lambda path: path.parent.name)
def test_new_reader_old_writer_what_was_accepted_is_the_same_fact_today(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 100
    for line in lines:
        kept = json.loads(line)
        fact = accept(json.dumps(kept["event"]).encode(), kept["event"]["type"])
        assert fact.fingerprint.hex() == kept["fingerprint"], kept["event"]["id"]


@read
def test_old_reader_new_writer_the_examples_of_today_are_valid_under_a_release(path: Path) -> None:
    reader = Draft202012Validator(lenient(_schema(path)))
    told = [event for event in examples.events().values() if event["type"] == _name(path)]
    assert told
    for event in told:
        reader.validate(event)


def _emitted(name: str) -> Document:
    document: Document = json.loads(examples.reports()[f"{name}.json"])
    return document


def _assert_readable(released: Schema, name: str) -> None:
    Draft202012Validator(lenient(released)).validate(_emitted(name))
    assert refused(_TODAY[name], lenient(released)) == [], "readers that know the release only could not read this"


def test_old_reader_new_writer_reports_of_today_can_be_read_by_every_release() -> None:
    for path in _paths(*_WRITTEN):
        _assert_readable(_schema(path), _name(path))


@pytest.mark.parametrize("name", _WRITTEN)
def test_a_report_with_a_further_field_can_be_read_by_who_does_not_know_it(name: str) -> None:
    """Today's schema as a release, and a writer of tomorrow."""
    _assert_readable(_TODAY[name], name)
    tomorrow = _emitted(name)
    tomorrow["data" if name == "report-ready" else "scope"]["further"] = 1
    Draft202012Validator(lenient(_TODAY[name])).validate(tomorrow)
    assert not golden(name).is_valid(tomorrow)


def test_what_writers_send_is_not_ignored_by_us() -> None:
    """Lenient reading is for readers of what we write; a field that an agency sends and we do not know is refused."""
    event = examples.events()["issued"]
    event["data"]["further"] = 1
    assert not golden("detainer-issued").is_valid(event)
    assert Draft202012Validator(lenient(_TODAY["detainer-issued"])).is_valid(event)


def _data(schema: Schema, model: str) -> Any:
    return schema["$defs"][model]


def _require(schema: Schema) -> None:
    _data(schema, "DeclinedData")["required"].append("reason")


def _drop_code(schema: Schema) -> None:
    _data(schema, "DeclinedData")["properties"]["form"]["anyOf"][0]["enum"].remove("I-247A")


def _drop_field(schema: Schema) -> None:
    del _data(schema, "DeclinedData")["properties"]["location"]


def _drop_null(schema: Schema) -> None:
    _data(schema, "DeclinedData")["properties"]["reason"]["anyOf"].pop()


def _retype(schema: Schema) -> None:
    _data(schema, "DeclinedData")["properties"]["version"]["type"] = "string"


def _lower(schema: Schema) -> None:
    _data(schema, "DeclinedData")["properties"]["version"]["maximum"] = 2**31 - 1


def _repattern(schema: Schema) -> None:
    schema["properties"]["id"]["pattern"] = "^[0-9]{1,9}$"


def _drop_offense(schema: Schema) -> None:
    _data(schema, "Offense")["properties"]["category"]["enum"].remove("90D")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_require, "$.data.reason: is required, and may be absent"),
        (_drop_code, "$.data.form: does not take I-247A"),
        (_drop_field, "$.data.location: is not a field any more"),
        (_drop_null, "$.data.reason: is of type string, and may be null"),
        (_retype, "$.data.version: is of type string, and may be integer"),
        (_lower, "$.data.version: maximum is 2147483647, and may be more"),
        (_repattern, "$.id: has another pattern"),
        (_drop_offense, "$.data.offenses[].category: does not take 90D"),
    ],
)
def test_a_change_that_refuses_old_writers_is_found_and_named(change: Callable[[Schema], None], sentence: str) -> None:
    released = _schema(RELEASED / "1" / "detainer-declined.schema.json")
    today = copy.deepcopy(released)
    change(today)
    assert refused(released, today) == [sentence]


def _no_totals(schema: Schema) -> None:
    _data(schema, "ReportReadyData")["required"].remove("totals")


def _new_cause(schema: Schema) -> None:
    _data(schema, "ReportReadyData")["properties"]["cause"]["enum"].append("whim")


def _null_count(schema: Schema) -> None:
    _data(schema, "Totals")["properties"]["issued"] = {"anyOf": [{"type": "integer"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_no_totals, "$.data.totals: is required, and may be absent"),
        (_new_cause, "$.data.cause: does not take whim"),
        (_null_count, "$.data.totals.issued: is of type integer, and may be null"),
    ],
)
def test_a_change_that_old_readers_cannot_read_is_found_and_named(
    change: Callable[[Schema], None], sentence: str
) -> None:
    released = _TODAY["report-ready"]
    today = copy.deepcopy(released)
    change(today)
    assert refused(today, lenient(released)) == [sentence]


def test_what_may_change_may_change() -> None:
    released = _schema(RELEASED / "1" / "detainer-declined.schema.json")
    today = copy.deepcopy(released)
    fields = _data(today, "DeclinedData")["properties"]
    fields["further"] = {"type": "string"}
    fields["form"]["anyOf"][0]["enum"].append("I-247Z")
    fields["version"]["maximum"] += 1
    _data(today, "DeclinedData")["required"].remove("version")
    assert refused(released, today) == []
