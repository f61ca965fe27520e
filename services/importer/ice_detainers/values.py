"""Single cells: which are missing, and what a date, a code or a country's name means. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from typing import Final

from schemas import taxonomy
from services.importer.ice_values import FIRST_YEAR, table
from services.importer.tables import Cell

_MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "(null)", "-"})
_REDACTED = re.compile(r"(b[1-9][a-g]?)+|redacted")
_PUNCTUATION = re.compile(r"[\s()\[\],;./&-]+")
_FORMATS: Final = ("%Y-%m-%d", "%m/%d/%Y", "%m/%d/%y", "%d%b%y", "%d%b%Y", "%d-%b-%y", "%d-%b-%Y", "%m-%d-%Y")
_MIDNIGHT = re.compile(r"[T ]+[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?( ?[AP]M)?Z?$", re.IGNORECASE)
_SERIAL = re.compile(r"[1-9][0-9]{4}(\.[0-9]+)?")
_FACILITY_CODE = re.compile(r"[A-Z0-9-]{2,16}")
_LARGEST_SERIAL = 2_958_465
"""31 December 9999, the last day of spreadsheets."""

NOT_KNOWN: Final = ""
"""What the table of spellings gives a name that is no country's."""


@lru_cache(maxsize=1 << 13)
def _stripped(text: str) -> tuple[str, bool]:
    text = " ".join(text.split())
    if text.casefold() in _MISSING:
        return "", False
    redacted = text[0] in "([bBrR" and bool(_REDACTED.fullmatch(_PUNCTUATION.sub("", text).casefold()))
    return ("", True) if redacted else (text, False)


def text_of(cell: Cell) -> str:
    """The cell as text in single spaces; empty when it is missing or redacted. A whole number has no point."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return _stripped(cell)[0]
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else str(cell)
    return cell.isoformat()


def is_redacted(cell: Cell) -> bool:
    """Whether the cell has a mark of a FOIA exemption instead of a value, such as ``(b)(6), b(7)c``."""
    return isinstance(cell, str) and _stripped(cell)[1]


def day_of(cell: Cell, epoch: date, formats: Sequence[str] = ()) -> date | None:
    """The day that a cell names: a date, a spreadsheet's number of days, or text. None when it is none.

    `formats` are tried before the usual ones. In text such as 2/11/2026 the month is first.
    """
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    if isinstance(cell, float):
        return epoch + timedelta(days=int(cell)) if 0 < cell <= _LARGEST_SERIAL else None
    return _day_of_text(text_of(cell), epoch, tuple(formats))


@lru_cache(maxsize=1 << 14)
def _day_of_text(text: str, epoch: date, formats: tuple[str, ...]) -> date | None:
    if _SERIAL.fullmatch(text) and not formats:
        return epoch + timedelta(days=int(float(text)))
    day = _MIDNIGHT.sub("", text)
    for form in (*formats, *_FORMATS):
        try:
            return datetime.strptime(day, form).date()  # noqa: DTZ007  # a day has no zone
        except ValueError:
            continue
    return None


def is_plausible(day: date, today: date) -> bool:
    """Whether a detainer can have been prepared on this day: not before 1970, not after today."""
    return day.year >= FIRST_YEAR and day <= today


def facility_code_of(text: str) -> str:
    """The facility's code in upper case, or empty when it has not the form of one."""
    code = text.upper()
    return code if _FACILITY_CODE.fullmatch(code) else ""


def charge_code_of(cell: Cell) -> str:
    """The NCIC code as four signs. A spreadsheet may have made 999 of 0999."""
    text = text_of(cell).upper().removesuffix(".0")
    return text.zfill(4) if text.isdecimal() else text


@lru_cache(maxsize=1024)
def category_of(charge_code: str) -> str | None:
    """The NIBRS category of an NCIC code: the code's own row, or that of its class. None: the table has neither."""
    codes = _categories()
    return codes.get(charge_code, codes.get(f"{charge_code[:2]}**")) or None


@lru_cache(maxsize=1024)
def citizenship_of(name: str) -> str | None:
    """The code of a country by its name; empty for 'not known' and stateless, None for a name in no table."""
    return _countries().get(_name(name))


@cache
def _categories() -> dict[str, str]:
    return {row["code"]: row["category"] for row in table(__package__, "ncic.csv")}


@cache
def _countries() -> dict[str, str]:
    """By the names of our own list, then by the spellings of the released files, which win."""
    rows = taxonomy.countries().rows
    found = {_name(row["name"]): code for code, row in rows.items()} | {code: code for code in rows}
    return found | {_name(row["name"]): row["code"] for row in table(__package__, "country_spellings.csv")}


def _name(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.upper()).encode("ascii", "ignore").decode().replace("'", "")
    return " ".join(_PUNCTUATION.sub(" ", folded).split())
