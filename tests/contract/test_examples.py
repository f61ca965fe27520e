"""docs/examples matches the code and the contracts."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from schemas.acceptance import Refused, accept, accept_any
from schemas.report import Report, sha256_of
from schemas.topics import partition_of
from tests.support import examples
from tests.support.golden import golden

_FILES = sorted(path for path in examples.FOLDER.rglob("*") if path.is_file() and path.name != "README.md")
_MADE = examples.requests() | examples.reports()
EVENTS = ["issued", "declined", "amended", "withdrawn", "attested"]


def _text(name: str) -> str:
    return (examples.FOLDER / name).read_text(encoding="utf-8")


def _read(name: str) -> Any:
    return json.loads(_text(name))


def _lines(name: str) -> list[Any]:
    return [json.loads(line) for line in _text(name).splitlines()]


@pytest.mark.parametrize("name", sorted(_MADE))
def test_the_examples_match_the_code(name: str) -> None:
    assert _text(name) == _MADE[name], f"docs/examples/{name} is old. Run: {examples.COMMAND}"


def test_the_index_names_every_example() -> None:
    named = re.findall(r"\]\((?!\.\.)([\w./-]+)\)", _text("README.md"))
    assert sorted({*named}) == sorted(path.relative_to(examples.FOLDER).as_posix() for path in _FILES)


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_valid_and_accepted(name: str) -> None:
    event = _read(f"events/{name}.json")
    golden(event["type"]).validate(event)
    accept_any(_text(f"events/{name}.json").encode(), event["type"])


def test_amended_and_withdrawn_win_over_earlier_versions() -> None:
    issued, declined, amended, withdrawn = (accept(_text(f"events/{name}.json").encode()) for name in EVENTS[:4])
    assert amended.identity == issued.identity
    assert amended.version > issued.version
    assert withdrawn.identity == declined.identity
    assert withdrawn.version > declined.version
    assert [one.withdrawn for one in (issued, declined, amended, withdrawn)] == [False, False, False, True]


def test_the_refused_event_has_the_documented_reason() -> None:
    with pytest.raises(Refused) as refused:
        accept(_text("events/refused.json").encode())
    detail = f"{refused.value.field}: {refused.value.detail}"
    for refusal in (_read("responses/problem.json"), _read("receipts/rejected.json")):
        assert (refusal["code"], refusal["detail"]) == (refused.value.code, detail)
    assert _read("responses/problem.json")["status"] == 422


def test_batch_and_lines_contain_the_same_events() -> None:
    assert _read("requests/batch.json") == _lines("requests/lines.ndjson") == examples.several()


def test_each_event_of_the_batch_has_its_receipt_and_the_sum_is_right() -> None:
    response = _read("responses/batch.json")
    assert [one["id"] for one in response["receipts"]] == [one["id"] for one in _read("requests/batch.json")]
    assert [one["line"] for one in response["receipts"]] == list(range(1, len(response["receipts"]) + 1))
    counted = dict.fromkeys(("accepted", "rejected", "unavailable"), 0)
    for one in response["receipts"]:
        counted[one["status"]] += 1
    assert response["summary"] == {"lines": len(response["receipts"])} | counted


def test_lines_and_batch_have_the_same_receipts_except_for_offsets() -> None:
    *receipts, last = _lines("responses/lines.ndjson")
    batch = _read("responses/batch.json")
    assert [{**one, "offset": 0} for one in receipts] == [{**one, "offset": 0} for one in batch["receipts"]]
    assert last == {"summary": batch["summary"]}


@pytest.mark.parametrize(("status", "retryable"), [("accepted", False), ("rejected", False), ("unavailable", True)])
def test_there_is_a_receipt_of_each_status(status: str, retryable: bool) -> None:
    receipt = _read(f"receipts/{status}.json")
    assert (receipt["status"], receipt["retryable"]) == (status, retryable)


def test_an_accepted_event_is_in_the_partition_of_its_key() -> None:
    receipt, event = _read("receipts/accepted.json"), _read("events/issued.json")
    assert receipt["topic"] == event["type"]
    assert receipt["partition"] == partition_of(event["data"]["detainer_id"].encode(), 12)


def test_the_report_is_valid_and_has_the_announced_digests() -> None:
    served, announced = _read("report.json"), _read("report-ready.json")
    golden("report").validate(served)
    golden("report-ready").validate(announced)
    digest = served.pop("digest")
    report = Report.model_validate(served)
    assert sha256_of(served) == digest == report.digest == announced["data"]["digest"]
    assert served["figures_digest"] == announced["data"]["figures_digest"]
    assert report.totals.model_dump() == announced["data"]["totals"]
