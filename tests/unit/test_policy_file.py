"""services.publisher.policy_file: a file of policies is valid as a whole, or each error has line, field and rule."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import taxonomy
from services.publisher import policy_file
from services.publisher.office_contacts import check_contact
from services.publisher.policy_file import COLUMNS, Finding, PolicyFileError, PolicyRow
from services.publisher.policy_registry import ListedPolicy

HEADER = ",".join(COLUMNS)
ROW = {
    "jurisdiction": "48453",
    "enacted": "2017-01",
    "valid_from": "2017-02-01",
    "valid_to": "",
    "honors": "offense-convicted judicial-warrant",
    "source": "https://www.tcsheriff.org/policies/ice.pdf?version=2#page=3",
    "contact": "Travis County Sheriff's Office",
}


def line(**changes: str) -> str:
    return ",".join({**ROW, **changes}.values())


def parse(*lines: str) -> list[PolicyRow]:
    return policy_file.parse("\n".join([HEADER, *lines]).encode())


def refused(content: bytes) -> list[Finding]:
    with pytest.raises(PolicyFileError) as raised:
        policy_file.parse(content)
    return raised.value.findings


def refused_lines(*lines: str) -> list[Finding]:
    return refused("\n".join([HEADER, *lines]).encode())


def test_a_valid_row_is_a_policy() -> None:
    (row,) = parse(line(valid_to="2018-06-30"))
    assert row == PolicyRow(
        2,
        ListedPolicy(
            "48453",
            "2017-01",
            date(2017, 2, 1),
            date(2018, 6, 30),
            ("judicial-warrant", "offense-convicted"),
            ROW["source"],
        ),
        "Travis County Sheriff's Office",
    )


def test_the_template_has_the_columns_and_all_codes_and_becomes_valid_with_a_row() -> None:
    empty = policy_file.template()
    assert all(f"#   {code}: " in empty for code in taxonomy.policy_codes())
    (finding,) = refused(empty.encode())
    assert finding.rule == "no policy follows the header"
    (row,) = policy_file.parse((empty + line()).encode())
    assert row.line == len(empty.splitlines()) + 1


def test_a_signature_line_ends_of_windows_another_order_comments_and_quotes_are_read() -> None:
    names = list(reversed(COLUMNS))
    cells = ",".join(f'" {ROW[name]} "' for name in names)
    text = f'# "a comment\r\n\r\n{",".join(names)}\r\n#\r\n,,,\r\n,,,,,,\r\n{cells}\r\n'.replace(",,,\r\n,", ",", 1)
    (row,) = policy_file.parse(b"\xef\xbb\xbf" + text.encode())
    assert row.policy == parse(line())[0].policy


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("jurisdiction", "", "is required"),
        ("jurisdiction", "99999", "is not a code of the registry"),
        ("jurisdiction", "6037", "a spreadsheet may have removed the leading 0"),
        ("jurisdiction", "480453", "at most 5 characters"),
        ("jurisdiction", "Travis", "at most 5 characters"),
        ("enacted", "", "is required"),
        ("enacted", "January 2017", "at most 10 characters"),
        ("enacted", "2017-13", "must be a date or a month"),
        ("enacted", "20170101", "must be a date or a month"),
        ("enacted", "1/2/2017", "must be a date or a month"),
        ("enacted", "2017-02-02", "valid_from: must not be before enacted"),
        ("enacted", "2017-03", "valid_from: must not be before enacted"),
        ("valid_from", "", "is required"),
        ("valid_from", "2017-02", "must be a date from 1900"),
        ("valid_from", "2017-02-30", "must be a date from 1900"),
        ("valid_from", "0001-01-01", "must be a date from 1900"),
        ("valid_to", "9999-12-31", "must be a date from 1900"),
        ("valid_to", "2017-01-31", "must not be before valid_from"),
        ("honors", "", "is required"),
        ("honors", "no-cooperation", "must be codes separated by blanks: none, judicial-warrant"),
        ("honors", "notification notification", "must name each code once"),
        ("honors", "none notification", "none excludes all other codes"),
        ("source", "", "is required"),
        ("source", "http://example.org/", "must be an https:// address"),
        ("source", "https://localhost/", "must be an https:// address"),
        ("source", "https://10.0.0.1/", "must be an https:// address"),
        ("source", "https://ann:secret@example.org/", "must be an https:// address"),
        ("source", "https://example.org/a b", "must be an https:// address"),
        ("source", 'https://example.org/""><script>', "must be an https:// address"),
        ("source", "https://exämple.org/", "must be an https:// address"),
        ("source", "https://example.org/%zz", "must be an https:// address"),
        ("source", "javascript:alert(1)", "must be an https:// address"),
        ("source", "https://example.org/" + "a" * 500, "at most 500 characters"),
        ("source", "=HYPERLINK(1)", "reads as a formula"),
        ("contact", "+1 512 854 9770", "reads as a formula"),
        ("contact", "@office", "reads as a formula"),
        ("contact", "＝office", "reads as a formula"),
        ("contact", "County\toffice", "control characters"),
        ("contact", "County\u202eoffice", "control characters"),
        ("contact", "County\u2028office", "control characters"),
        ("contact", "County\x00office", "control characters"),
        ("contact", "County office A012345678", "alien registration number"),
        ("contact", "office " * 20, "at most 120 characters"),
        ("contact", "Ann Smith", "never a person"),
    ],
)
def test_a_rule_is_named_with_line_and_field(field: str, value: str, rule: str) -> None:
    quoted = f'"{value}"'
    (finding,) = refused_lines("# a comment", line(jurisdiction="06037"), line(**{field: quoted}))
    assert rule in f"{finding.field}: {finding.rule}"
    assert finding.line == 4
    assert finding.field == field or finding.field == "valid_from"
    assert not value or len(value) < 4 or value not in str(finding), "no value is quoted"


def test_every_finding_is_listed_in_the_order_of_lines() -> None:
    findings = refused_lines(line(honors="x", source="x"), line(jurisdiction="0"), "1,2", line(valid_to="x"))
    assert [(one.line, one.field) for one in findings] == [
        (2, "honors"), (2, "source"), (3, "jurisdiction"), (4, ""), (5, "valid_to"),
    ]  # fmt: skip
    said = str(PolicyFileError(findings))
    assert said.startswith("line 2, honors: must be codes")
    assert said.endswith("; 5 errors in total, and nothing is loaded")


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "the header must have these columns"),
        (HEADER.replace("contact", "name").encode(), "the header must have these columns"),
        (f"{HEADER},contact".encode(), "the header must have these columns"),
        (HEADER.replace(",", ";").encode(), "the header must have these columns"),
        (HEADER.encode(), "no policy follows the header"),
        (f"{HEADER}\n{line()}\n{line()[:-1]}\xe9".encode("latin-1"), "is not UTF-8"),
        (f'{HEADER}\n{line()}\n"{line()}'.encode(), "is not CSV"),
        (b"x" * (policy_file.MAX_BYTES + 1), "is larger than 5,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(content: bytes, rule: str) -> None:
    (finding,) = refused(content)
    assert rule in finding.rule
    assert finding.line == (3 if "UTF-8" in rule or "not CSV" in rule else 1)


def test_a_line_break_in_a_cell_is_refused_at_the_first_line_of_its_record() -> None:
    (finding,) = refused_lines(line(contact='"County\noffice"'), line(jurisdiction="06037"))
    assert (finding.line, finding.field) == (2, "contact")


def test_too_many_policies_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_file, "MAX_POLICIES", 1)
    (finding,) = refused_lines(line(), line(jurisdiction="06037"))
    assert (finding.line, finding.rule) == (3, "the file has more than 1 policies")


def test_an_overlap_of_one_day_is_refused_and_another_jurisdiction_is_none() -> None:
    first, second = line(valid_to="2018-06-30"), line(valid_from="2018-06-30")
    (finding,) = refused_lines(second, line(jurisdiction="48"), first)
    assert (finding.line, finding.field) == (2, "valid_from")
    assert finding.rule == "overlaps the policy of the same jurisdiction on line 4"
    assert len(parse(second, line(jurisdiction="48"), line(valid_to="2018-06-29"))) == 3


_DAYS = st.integers(0, 12).map(lambda n: date(2017, 3, 1) + timedelta(days=n))
_PERIODS = st.tuples(st.sampled_from(["48453", "06037"]), _DAYS, st.none() | st.integers(0, 5))


@given(st.lists(_PERIODS, min_size=1, max_size=5))
def test_a_file_is_refused_exactly_if_two_policies_of_a_jurisdiction_share_a_day(
    periods: list[tuple[str, date, int | None]],
) -> None:
    rows = []
    days = []
    for code, begins, length in periods:
        ends = "" if length is None else str(begins + timedelta(days=length))
        rows.append(line(jurisdiction=code, valid_from=str(begins), valid_to=ends))
        days.append((code, {begins + timedelta(days=n) for n in range(40 if length is None else length + 1)}))
    shared = any(one[0] == other[0] and one[1] & other[1] for n, one in enumerate(days) for other in days[n + 1 :])
    if shared:
        assert all("overlaps" in one.rule for one in refused_lines(*rows))
    else:
        assert len(parse(*rows)) == len(periods)


@pytest.mark.parametrize(
    "contact",
    [
        "Travis County Sheriff’s Office",
        "County Counsel, Jackson, MS",
        "Office of the District Attorney",
        "Sheriff Travis County",
        "Public Information Unit, 512-555-0100",
        "records@sheriff.example.org",
        "sheriffinfo@co.travis.tx.us",
        "county-counsel@example.org",
    ],
)
def test_an_office_is_a_contact(contact: str) -> None:
    assert check_contact(contact) is None


@pytest.mark.parametrize(
    "contact",
    [
        "Ann Smith",
        "Sheriff Ann Smith",
        "Ms Smith, County Counsel",
        "Dr. Smith, office",
        "ann.smith@sheriff.example.org",
        "asmith@county.example.org",
        "sheriff.smith@example.org",
        "Ann Smith <records@example.org>",
        "records@example.org, info@example.org",
        "records@localhost",
    ],
)
def test_a_person_is_not_a_contact(contact: str) -> None:
    assert "must be an office" in (check_contact(contact) or "")
