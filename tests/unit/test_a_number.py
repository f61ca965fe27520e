"""schemas.a_number: every notation of an A-number is found; machine-made identifiers are not."""

from __future__ import annotations

import json
import random
import re
import uuid
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from schemas import a_number
from schemas.a_number import has_a_number
from services.cli.console import impersonal
from services.ingest.intake import Accepted, Rejected
from services.runtime import agencies, settings
from services.runtime.errors import ConfigurationError
from tests.unit.sample_events import changed, encoded, event, refusal
from tests.unit.test_intake import judged

DIGITS = st.text("0123456789", min_size=7, max_size=9)


@pytest.mark.parametrize(
    "written",
    [
        *("A1234567", "A12345678", "A123456789", "a12345678", "A-12345678", "A12-345-678", "A012-345-678"),
        "A1-234-567",
        *("2017A12345678", "2017-A12345678", "A12345678-2017", "A12-345-678-1", "A12345678x", "idA12345678"),
        "A#12345678",
        *("A 012 345 678", "A: 12 345 678", "A_1_2_3_4_5_6_7", "alien12345678", "A-no-12345678", "a.number=12345678"),
        *("12345678", "012345678", "012-345-678", "12 345 678", "evt/A1234567/2", "/agencies/a1234567"),
        "7d3f6c1e-2b44-4c1a-9d1e-0a5f1c2b3d4e/A12345678",
    ],
)  # fmt: skip
def test_an_a_number_is_found_however_it_is_written(written: str) -> None:
    assert has_a_number(written)


@pytest.mark.parametrize(
    "written",
    [
        *("1234567", "A123456", "A1234567890", "AB12345678", "NCA12345678", "A012-345-6789", "2017-01-28"),
        "A-2017-01-28",
        *("import-2017012812", "2017-000123-1", "first-week/1001/issued", "ERO-LA-2017-0123", "CCDC", "32003"),
        *("2017-01-30T09:15:00.123456789+00:00", "/schemas/detainer-issued/1", "01ARZ3NDEKTSV4RRFFQ69A1234"),
    ],
)  # fmt: skip
def test_other_text_is_no_a_number(written: str) -> None:
    assert not has_a_number(written)


@given(digits=DIGITS, before=st.sampled_from(["", "2017", "x-", "id:", "/", "issued."]), data=st.data())
def test_digits_after_an_a_are_found_with_any_separator(digits: str, before: str, data: st.DataObject) -> None:
    between = data.draw(st.sampled_from(["", "-", ".", " ", "_", ":", "/"]))
    written = between.join(digits)
    assert has_a_number(f"{before}A{between}{written}")


FORMS = (
    str, lambda one: str(one).upper(), lambda one: one.hex, lambda one: one.urn, lambda one: f"{{{one}}}",
    lambda one: f"{one}-1", lambda one: f"evt_{one}", lambda one: f"a{one}", lambda one: f"2017/{one}/2",
    lambda one: f"{one}{one}", lambda one: f"{one.hex}/1", lambda one: f"{one}:{uuid.UUID(int=one.int ^ 1)}",
)  # fmt: skip


def test_no_uuid_with_an_a_and_digits_is_refused() -> None:
    """Not once in 10^9, by construction: a UUID is removed as a whole, so its content has no effect.

    Tested with UUIDs drawn so that nearly all contain an A-number: an `a` and digits.
    """
    rng = random.Random(14)
    alike = 0
    for _ in range(3_000):
        digits = [rng.choice("0123456789") for _ in range(32)]
        for at in range(rng.randrange(8), 32, rng.choice((8, 9, 10))):
            digits[at] = "a"  # with seven, eight or nine digits after it
        one = uuid.UUID("".join(digits))
        alike += a_number._SHAPE.search(str(one)) is not None
        assert [form(one) for form in FORMS if has_a_number(form(one))] == []
    assert alike > 2_000, "otherwise nothing was tested"


def test_the_uuid_pattern_matches_every_uuid() -> None:
    """Each of the 32 digits may have 16 values, and the 4 hyphens are where RFC 9562 puts them."""
    taken = a_number._MACHINE_MADE
    for digit in "0123456789abcdefABCDEF":
        for at in range(32):
            for rest in "0aF":
                text = "".join(digit if n == at else rest for n in range(32))
                written = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
                assert taken.fullmatch(written)
                assert taken.fullmatch(text)


@given(st.uuids(), st.sampled_from(FORMS))
def test_a_uuid_is_an_event_id(one: uuid.UUID, form: object) -> None:
    written = re.sub("[{}]", "", form(one))  # type: ignore[operator]
    assert isinstance(judged(changed(event(), "id", written)), Accepted)


@pytest.mark.parametrize("written", ["A1234567", "A-12345678", "A12-345-678", "2017A12345678"])
def test_a_refused_event_does_not_echo_an_a_number(written: str) -> None:
    refused = judged(changed(event(), "id", written))
    assert isinstance(refused, Rejected)
    assert (refused.receipt.id, refused.receipt.code) == (None, "a-number")
    unread = judged(changed(changed(event(), "id", written), "data.version", 0))
    assert written not in repr(unread)


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("data.facility", "A1234567"),
        ("data.facility", "A-12345678"),
        ("source", "/agencies/a1234567"),
        ("source", "/agencies/a12-345-678"),
        ("dataschema", "/schemas/A1234567/1"),
        ("subject", "A1234567"),
        ("data.A1234567", "x"),
    ],
)
def test_an_a_number_of_seven_digits_is_refused_in_every_field(path: str, written: str) -> None:
    assert refusal(encoded(changed(event("declined"), path, written))).code == "a-number"


def test_text_of_operators_in_reports_contains_no_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        impersonal("checked with the sheriff: A12-345-678 was counted twice")
    assert "345" not in str(refused.value)
    assert impersonal("checked 1,204 rows on 2017-02-06") == "checked 1,204 rows on 2017-02-06"
    for name in ("DDOR_NOTE", "DDOR_LINE_LIST_BASIS"):
        monkeypatch.setenv(name, "see A12345678")
        with pytest.raises(ConfigurationError, match=name):
            settings.load()
        monkeypatch.delenv(name)


def test_an_agency_name_cannot_be_an_a_number() -> None:
    table = '[[agency]]\nname = "a12345678"\nkinds = ["issued"]\njurisdictions = ["32003"]\nkey_sha256 = ["{}"]'
    with pytest.raises(ConfigurationError, match="alien registration number"):
        agencies.parse(table.format("0" * 64).encode())


def test_identifiers_in_examples_and_tables_are_accepted() -> None:
    for path in Path("schemas/released/1").glob("*.ndjson"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not has_a_number(json.loads(line)["event"]["id"])
    for path in Path("services/importer").rglob("*.csv"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert [cell for cell in line.split(",") if cell.startswith("A") and has_a_number(cell)] == []
