"""Reads a file of policies limiting detainers: CSV in UTF-8, one row per policy. Pure.

The whole file is valid, or PolicyFileError lists what is wrong: line, field and rule. It quotes no value, because a
value may contain personal data.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from schemas import a_number, taxonomy
from schemas.jurisdiction import registry
from services.publisher.office_contacts import check_contact
from services.publisher.policy_registry import ListedPolicy
from services.runtime.errors import CallerError

COLUMNS: Final = ("jurisdiction", "enacted", "valid_from", "valid_to", "honors", "source", "contact")
MAX_BYTES: Final = 5_000_000
MAX_POLICIES: Final = 10_000
NO_REQUEST: Final = "none"
"""The code of a policy that honors no request; it excludes all other codes."""

_LENGTHS = {"jurisdiction": 5, "enacted": 10, "valid_from": 10, "valid_to": 10, "honors": 200, "source": 500}
_CONTACT_LENGTH = 120
_REQUIRED = ("jurisdiction", "enacted", "valid_from", "honors", "source")
_FREE_TEXT = ("source", "contact")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # spreadsheets also read the wide forms
_YEARS = (date(1900, 1, 1), date(2100, 12, 31))
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_URL = re.compile(
    rf"https://(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])(?::[0-9]{{1,5}})?"
    r"(?:[/?#](?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)?"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. The header is line 1; an empty `field` means the whole line."""

    line: int
    field: str
    rule: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.field}: {self.rule}" if self.field else f"line {self.line}: {self.rule}"


class PolicyFileError(CallerError):
    """The file of policies is not valid. Nothing is loaded."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = sorted(findings, key=lambda one: one.line)
        super().__init__(f"{self.findings[0]}; {len(findings)} errors in total, and nothing is loaded")


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy with its contact and the line of the file on which it begins."""

    line: int
    policy: ListedPolicy
    contact: str


def template() -> str:
    """An empty file with the header and comments on columns and codes. It can be loaded when a row is added."""
    codes = "".join(f"#   {code}: {row['name']}\n" for code, row in taxonomy.policy_codes().rows.items())
    return (
        "# Policies limiting detainers. Lines that begin with # are skipped.\n"
        "# jurisdiction: county GEOID (five digits), state (two digits) or tribe (four digits)\n"
        "# enacted: YYYY-MM-DD, or YYYY-MM if the day is not known\n"
        "# valid_from, valid_to: first and last valid day, YYYY-MM-DD; valid_to is empty if there is no end\n"
        "# source: https:// address of the policy\n"
        "# contact: an office or its e-mail address, never a person's name; may be empty; never published\n"
        f"# honors: criteria for honoring a request; several codes are separated by blanks:\n{codes}"
        f"{','.join(COLUMNS)}\n"
    )


def parse(content: bytes) -> list[PolicyRow]:
    """The policies of a file, in its order. Raises PolicyFileError."""
    records = _records(content)
    header_line, header = next(records, (1, []))
    header = [name.strip(" ") for name in header]
    _check_header(header_line, header)
    findings: list[Finding] = []
    rows: list[PolicyRow] = []
    for number, (line, cells) in enumerate(records, start=1):
        if number > MAX_POLICIES:
            raise PolicyFileError([Finding(line, "", f"the file has more than {MAX_POLICIES} policies")])
        if len(cells) != len(header):
            findings.append(Finding(line, "", f"has {len(cells)} cells, but the header has {len(header)}"))
            continue
        values = dict(zip(header, (cell.strip(" ") for cell in cells), strict=True))
        wrong = [Finding(line, field, rule) for field, rule in _wrong(values)]
        findings += wrong
        if not wrong:
            rows.append(PolicyRow(line, _policy(values), values["contact"]))
    findings += _overlaps(rows)
    if not findings and not rows:
        findings.append(Finding(header_line, "", "no policy follows the header"))
    if findings:
        raise PolicyFileError(findings)
    return rows


def _records(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Each record with the number of its first line, without empty lines and comments."""
    if len(content) > MAX_BYTES:
        raise PolicyFileError([Finding(1, "", f"the file is larger than {MAX_BYTES:,} bytes")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PolicyFileError([Finding(line, "", "is not UTF-8; save the file as CSV UTF-8")]) from None
    lines = ("\n" if line.startswith("#") else line for line in io.StringIO(text, newline=""))
    reader = csv.reader(lines, strict=True)
    begins = 1
    try:
        for cells in reader:
            if any(cell.strip(" ") for cell in cells):
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise PolicyFileError([Finding(begins, "", f"is not CSV: {error}")]) from None


def _check_header(line: int, header: list[str]) -> None:
    """The header must have exactly COLUMNS, in any order."""
    if sorted(header) != sorted(COLUMNS):
        raise PolicyFileError([Finding(line, "", f"the header must have these columns: {','.join(COLUMNS)}")])


def _wrong(values: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The field and the broken rule of each value that is not valid, at most one rule a field."""
    is_right = True
    for field, value in values.items():
        for rule in (_broken_text(field, value), None if not value else _CHECKS[field](value)):
            if rule is not None:
                is_right = False
                yield field, rule
                break
    if is_right:
        yield from _wrong_order(values)


def _wrong_order(values: dict[str, str]) -> Iterator[tuple[str, str]]:
    if values["valid_from"][: len(values["enacted"])] < values["enacted"]:
        yield "valid_from", "must not be before enacted"
    if values["valid_to"] and values["valid_to"] < values["valid_from"]:
        yield "valid_to", "must not be before valid_from"


def _broken_text(field: str, value: str) -> str | None:
    """The rules for every field."""
    longest = _LENGTHS.get(field, _CONTACT_LENGTH)
    if not value:
        return "is required" if field in _REQUIRED else None
    if any(unicodedata.category(one)[0] == "C" or unicodedata.category(one) in ("Zl", "Zp") for one in value):
        return "must not contain control characters, line breaks or invisible characters"
    if value.startswith(_FORMULA):
        return "must not begin with = + - or @, which a spreadsheet reads as a formula"
    if len(value) > longest:
        return f"must have at most {longest} characters"
    if field in _FREE_TEXT and a_number.has_a_number(value):
        return "must not contain text shaped like an alien registration number"
    return None


def _broken_jurisdiction(value: str) -> str | None:
    if value in registry():
        return None
    hint = "; a spreadsheet may have removed the leading 0" if re.fullmatch(r"[0-9]|[0-9]{4}", value) else ""
    return f"is not a code of the registry of jurisdictions{hint}"


def _broken_day(value: str) -> str | None:
    try:
        is_day = _DAY.fullmatch(value) is not None and _YEARS[0] <= date.fromisoformat(value) <= _YEARS[1]
    except ValueError:
        is_day = False
    return None if is_day else "must be a date from 1900 to 2100, as YYYY-MM-DD"


def _broken_enacted(value: str) -> str | None:
    day = f"{value}-01" if _MONTH.fullmatch(value) else value
    return "must be a date or a month from 1900 to 2100, as YYYY-MM-DD or YYYY-MM" if _broken_day(day) else None


def _broken_honors(value: str) -> str | None:
    codes = value.split()
    if any(code not in taxonomy.policy_codes() for code in codes):
        return f"must be codes separated by blanks: {', '.join(taxonomy.policy_codes())}"
    if len(set(codes)) != len(codes):
        return "must name each code once"
    return f"{NO_REQUEST} excludes all other codes" if NO_REQUEST in codes and len(codes) > 1 else None


def _broken_source(value: str) -> str | None:
    return None if _URL.fullmatch(value) else "must be an https:// address of a public host, without user name"


_CHECKS: dict[str, Callable[[str], str | None]] = {
    "jurisdiction": _broken_jurisdiction,
    "enacted": _broken_enacted,
    "valid_from": _broken_day,
    "valid_to": _broken_day,
    "honors": _broken_honors,
    "source": _broken_source,
    "contact": check_contact,
}


def _policy(values: dict[str, str]) -> ListedPolicy:
    return ListedPolicy(
        values["jurisdiction"],
        values["enacted"],
        date.fromisoformat(values["valid_from"]),
        date.fromisoformat(values["valid_to"]) if values["valid_to"] else None,
        tuple(code for code in taxonomy.policy_codes() if code in values["honors"].split()),
        values["source"],
    )


def _overlaps(rows: list[PolicyRow]) -> Iterator[Finding]:
    """Each policy that is valid on a day on which an earlier policy of its jurisdiction is valid."""
    before: PolicyRow | None = None
    for row in sorted(rows, key=lambda one: (one.policy.key, one.line)):
        is_other = before is None or before.policy.jurisdiction != row.policy.jurisdiction
        if before is not None and not is_other and before.policy.is_valid_on(row.policy.valid_from):
            yield Finding(row.line, "valid_from", f"overlaps the policy of the same jurisdiction on line {before.line}")
        if is_other or _end(row) > _end(before):
            before = row


def _end(row: PolicyRow | None) -> date:
    assert row is not None
    return row.policy.valid_to or date.max
