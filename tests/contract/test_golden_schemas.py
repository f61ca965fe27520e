"""The committed JSON Schemas are those of the models, and refuse nothing that the acceptance function accepts."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import deploy
from schemas import export
from schemas.acceptance import Refused, accept, accept_any
from services.importer import acceptance_week
from services.importer.sending import Envelopes

Document = dict[str, Any]
NAMES = [
    "detainer-issued",
    "detainer-declined",
    "week-attested",
    "report-ready",
    "report-final",
    "report",
    "detainer-rejected",
]
FILE = Path(deploy.__path__[0]) / "demo" / "2017-01-28.csv"


@cache
def golden(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((export.GOLDEN / f"{name}.schema.json").read_text(encoding="utf-8")))


def example(name: str) -> Document:
    document: Document = json.loads((export.GOLDEN / f"{name}.example.json").read_text(encoding="utf-8"))
    return document


def test_the_committed_schemas_are_those_of_the_models() -> None:
    differing = list(export.differing())
    assert not differing, f"{', '.join(differing)} differ from the models. Run: {export.COMMAND}"


def test_there_is_a_schema_for_each_contract() -> None:
    assert sorted(path.name for path in export.GOLDEN.glob("*.schema.json")) == sorted(
        f"{name}.schema.json" for name in NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_2020_12_and_says_what_it_is(name: str) -> None:
    schema = golden(name).schema
    assert isinstance(schema, dict)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (schema["$id"], schema["title"]) == (f"/schemas/{name}/1", name)
    assert schema["additionalProperties"] is False


def test_check_finds_a_file_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "GOLDEN", tmp_path / "golden")
    assert export.main(["--check"]) == 1
    assert export.main([]) == 0
    assert export.main(["--check"]) == 0
    (tmp_path / "golden" / "report.schema.json").write_text("{}\n")
    (tmp_path / "golden" / "old.schema.json").write_text("{}\n")
    capsys.readouterr()
    assert export.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "report.schema.json differs" in told
    assert "old.schema.json differs" in told
    assert "python -m schemas.export" in told
    assert export.main([]) == 0
    assert export.main(["--check"]) == 0


@pytest.mark.parametrize("name", ["detainer-issued", "detainer-declined", "week-attested"])
def test_an_example_is_valid_and_accepted(name: str) -> None:
    golden(name).validate(example(name))
    accept_any(json.dumps(example(name)).encode(), name)


def events() -> Iterator[Document]:
    """What the importer would send of the first report's week."""
    envelopes = Envelopes("demo", "first-week")
    for row in acceptance_week.read(FILE, "demo", "first-week", ZoneInfo("America/New_York")):
        for event in row.events:
            yield envelopes.document(row.number, event)


def test_every_event_of_the_first_reports_week_is_valid_and_accepted() -> None:
    count = 0
    for event in events():
        error = next(golden(event["type"]).iter_errors(event), None)
        assert error is None, f"{event['id']}: {error.message if error else ''}"
        accept(json.dumps(event).encode(), event["type"])
        count += 1
    assert count == 3_083 + 206 + 40 + (206 + 20), "each declined detainer was issued before"


# Mostly values that the rules allow, each written in several ways, and some that they do not.
INSTANTS = st.sampled_from(
    [
        "2017-01-30T12:00:00Z",
        "2017-01-30t12:00:00z",
        "2017-01-30T12:00:00.000000001+00:00",
        "2017-01-30T23:59:59-14:00",
        "1900-01-01T00:00:00Z",
        "2199-12-31T23:59:59.999999999Z",
        "2017-01-30T12:00:00",
        "2017-01-30T24:00:00Z",
    ]
)
UUIDS = st.uuids().map(str) | st.uuids().map(lambda one: str(one).upper())
OFFENSES = st.lists(
    st.fixed_dictionaries(
        {"category": st.sampled_from(["90D", "09A", "13A", "x"]), "basis": st.sampled_from(["charged", "convicted"])}
    ),
    max_size=33,
)
DATA: dict[str, st.SearchStrategy[object]] = {
    "version": st.integers(-1, 2**53) | st.sampled_from([1.0, True, "1", 2**53 - 1]),
    "withdrawn": st.booleans() | st.none(),
    "withdrawn_reason": st.sampled_from([None, "wrong-person", "x"]),
    "jurisdiction": st.sampled_from(["32003", "46113", "09110", "US", "32", "2430", "99999"]),
    "operator": st.sampled_from(["county", "city", "state", "federal", "tribal", "x"]),
    "location": st.sampled_from([None, "32003", "32"]),
    "facility": st.sampled_from([None, "AB", "A-Z0-9-ABCDEFGHI", "x"]),
    "issued_at": INSTANTS,
    "declined_at": INSTANTS,
    "recorded_at": INSTANTS,
    "form": st.sampled_from([None, "I-247", "I-247X", "x"]),
    "reason": st.sampled_from([None, "not-stated", "x"]),
    "citizenship": st.sampled_from([None, "MEX", "SUN", "x"]),
    "offenses": st.none() | OFFENSES,
    "name": st.just("Doe"),
}
ENVELOPE: dict[str, st.SearchStrategy[object]] = {
    "id": st.text("abcXYZ019._:/=+-", min_size=1, max_size=128) | st.text(max_size=5),
    "source": st.sampled_from(["/agencies/a", "/agencies/" + "a" * 63, "/agencies/-"]),
    "time": INSTANTS,
    "dataschema": st.sampled_from(["https://example.org/a?b=(c)#d%20e", "a b"]),
    "redriveof": st.sampled_from([None, "detainer-issued/11/9223372036854775807", "x"]),
    "specversion": st.sampled_from(["1.0", "1"]),
    "datacontenttype": st.sampled_from(["application/json", "text/json"]),
    "extension": st.just("x"),
}


@st.composite
def mutated(draw: st.DrawFn) -> Document:
    """An example with a few members replaced, added or taken out; its subject follows its detainer."""
    document = copy.deepcopy(example(draw(st.sampled_from(["detainer-issued", "detainer-declined"]))))
    for place, values in ((document["data"], DATA), (document, ENVELOPE)):
        for name in draw(st.lists(st.sampled_from(sorted(values)), max_size=3, unique=True)):
            if name in place and draw(st.integers(0, 5)) == 0:
                del place[name]
            elif name in place or draw(st.booleans()):
                place[name] = draw(values[name])
    if draw(st.booleans()):
        document["subject"] = document["data"]["detainer_id"] = draw(UUIDS)
    return document


@given(mutated())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_schema_refuses_nothing_that_is_accepted(document: Document) -> None:
    try:
        fact = accept(json.dumps(document).encode())
    except Refused:
        return
    golden(f"detainer-{fact.kind.value}").validate(document)


def test_the_corpus_has_both_what_is_accepted_and_what_is_not() -> None:
    outcomes: list[bool] = []

    @given(mutated())
    @settings(max_examples=100, deadline=None, database=None, derandomize=True)
    def try_some(document: Document) -> None:
        try:
            accept(json.dumps(document).encode())
        except Refused:
            outcomes.append(False)
        else:
            outcomes.append(True)

    try_some()
    assert 10 < sum(outcomes) < len(outcomes) - 10
