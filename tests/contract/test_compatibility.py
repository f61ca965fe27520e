"""Released schemas stay compatible: old writers with the current reader, and old readers with the current writer.

Agencies write detainer events and ingest reads them. The publisher writes reports; readers ignore unknown
fields. `schemas/released/README.md` describes how to make a release.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator, ValidationError

from schemas import export
from schemas.acceptance import Refused, accept
from schemas.export import CONTROL_PATTERN
from tests.support import examples, release
from tests.support.compatibility import Schema, lenient, refused
from tests.support.golden import Document, golden, mutated
from tests.support.release import RELEASED

_NEVER_ACCEPTED = ("$.data.jurisdiction", "$.data.location")
"""Fields whose codes today's schema lists, where a released one had only a pattern. Other codes were never accepted."""
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
def test_new_reader_old_writer_the_schema_allows_everything_a_release_allows(path: Path) -> None:
    refusals = refused(_schema(path), _TODAY[_name(path)])
    assert [one for one in refusals if one.partition(":")[0] not in _NEVER_ACCEPTED] == [], (
        "agencies that write by the release would be refused; make new fields optional and keep codes"
    )


@given(mutated())
def test_new_reader_old_writer_events_valid_under_a_release_are_valid_today(document: Document) -> None:
    for path in sorted(RELEASED.glob(f"*/{document.get('type')}.schema.json")):
        if Draft202012Validator(_schema(path)).is_valid(document):
            for error in golden(document["type"]).iter_errors(document):
                _assert_never_accepted(error, document)


def _assert_never_accepted(error: ValidationError, document: Document) -> None:
    """Values that today's schema refuses and that of a release allows were always refused by the rules."""
    path = f"$.{'.'.join(map(str, error.absolute_path))}"
    assert path in _NEVER_ACCEPTED or re.search(CONTROL_PATTERN, str(error.instance)), error.message
    assert not _is_accepted(document)


def _is_accepted(document: Document) -> bool:
    try:
        accept(json.dumps(document).encode())
    except Refused:
        return False
    return True


@pytest.mark.parametrize("path", sorted(RELEASED.glob("*/accepted.ndjson")), ids=lambda path: path.parent.name)
def test_new_reader_old_writer_accepted_events_are_the_same_facts_today(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 100
    for line in lines:
        kept = json.loads(line)
        fact = accept(json.dumps(kept["event"]).encode(), kept["event"]["type"])
        assert fact.fingerprint.hex() == kept["fingerprint"], kept["event"]["id"]


@read
def test_old_reader_new_writer_the_examples_of_today_are_valid_under_a_release(path: Path) -> None:
    reader = Draft202012Validator(lenient(_schema(path)))
    events = [event for event in examples.events().values() if event["type"] == _name(path)]
    assert events
    for event in events:
        reader.validate(event)


def _emitted(name: str) -> Document:
    document: Document = json.loads(examples.reports()[f"{name}.json"])
    return document


def _assert_readable(released: Schema, name: str) -> None:
    Draft202012Validator(lenient(released)).validate(_emitted(name))
    assert refused(_TODAY[name], lenient(released)) == [], "readers with the release's schema could not read this"


def test_old_reader_new_writer_reports_of_today_can_be_read_by_every_release() -> None:
    for path in _paths(*_WRITTEN):
        _assert_readable(_schema(path), _name(path))


@pytest.mark.parametrize("name", _WRITTEN)
def test_old_readers_can_read_a_report_with_a_new_field(name: str) -> None:
    """Today's schema as a release, and a writer of tomorrow."""
    _assert_readable(_TODAY[name], name)
    tomorrow = _emitted(name)
    tomorrow["data" if name == "report-ready" else "scope"]["further"] = 1
    Draft202012Validator(lenient(_TODAY[name])).validate(tomorrow)
    assert not golden(name).is_valid(tomorrow)


def test_unknown_fields_of_events_are_not_ignored() -> None:
    """Only readers of reports ignore unknown fields; an unknown field in an event is refused."""
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


def test_compatible_changes_are_allowed() -> None:
    released = _schema(RELEASED / "1" / "detainer-declined.schema.json")
    today = copy.deepcopy(released)
    fields = _data(today, "DeclinedData")["properties"]
    fields["further"] = {"type": "string"}
    fields["form"]["anyOf"][0]["enum"].append("I-247Z")
    fields["version"]["maximum"] += 1
    _data(today, "DeclinedData")["required"].remove("version")
    assert refused(released, today) == []
