"""The committed JSON Schemas are those of the models, and refuse nothing that the acceptance function accepts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from schemas import export
from schemas.acceptance import Refused, accept, accept_any
from tests.support.golden import Document, example, first_week, golden, mutated

NAMES = [
    "detainer-issued",
    "detainer-declined",
    "week-attested",
    "report-ready",
    "report-final",
    "report",
    "detainer-rejected",
]


def test_the_committed_schemas_match_the_models() -> None:
    differing = list(export.differing())
    assert not differing, f"{', '.join(differing)} differ from the models. Run: {export.COMMAND}"


def test_there_is_a_schema_for_each_contract() -> None:
    assert sorted(path.name for path in export.GOLDEN.glob("*.schema.json")) == sorted(
        f"{name}.schema.json" for name in NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_2020_12_with_a_title(name: str) -> None:
    schema = golden(name).schema
    assert isinstance(schema, dict)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (schema["$id"], schema["title"]) == (f"/schemas/{name}/1", name)
    read = name in ("detainer-issued", "detainer-declined", "week-attested")
    assert schema["additionalProperties"] == ({"type": "null"} if read else False)


def test_check_reports_a_file_that_differs(
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
    output = capsys.readouterr().err
    assert "report.schema.json differs" in output
    assert "old.schema.json differs" in output
    assert "python -m schemas.export" in output
    assert export.main([]) == 0
    assert export.main(["--check"]) == 0


@pytest.mark.parametrize("name", ["detainer-issued", "detainer-declined", "week-attested"])
def test_an_example_is_valid_and_accepted(name: str) -> None:
    golden(name).validate(example(name))
    accept_any(json.dumps(example(name)).encode(), name)


def test_every_event_of_the_first_reports_week_is_valid_and_accepted() -> None:
    count = 0
    for event in first_week():
        error = next(golden(event["type"]).iter_errors(event), None)
        assert error is None, f"{event['id']}: {error.message if error else ''}"
        accept(json.dumps(event).encode(), event["type"])
        count += 1
    assert count == 3_083 + 206 + 40 + (206 + 20), "each declined detainer was issued before"


@given(mutated())
def test_a_schema_refuses_nothing_that_is_accepted(document: Document) -> None:
    try:
        fact = accept(json.dumps(document).encode())
    except Refused:
        return
    golden(f"detainer-{fact.kind.value}").validate(document)


def test_the_corpus_has_accepted_and_refused_events() -> None:
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
