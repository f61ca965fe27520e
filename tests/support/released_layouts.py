"""Writes detainers of `released_truth` as files of each released layout, row by row, in the spellings of such files."""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, Final

from tests.support import xlsx_stream
from tests.support.released_files import FIELDS, PREAMBLE, cleaned, columns
from tests.support.released_truth import REDACTED, Detainer

MARKS: Final = (
    "(b)(6)", "b(6), b(7)c", "b(6), b(7)C", "(B)(6), (B)(7)(C)", "(b)(6);(b)(7)(c)", " (b) (6) ", "b6, b7c",
)  # fmt: skip
_ORIGIN = ("duplicate_likely", "file_original", "sheet_original", "row_original")
_PARQUET_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Layout:
    """A file: its columns in this order. `spells` is whether a date is written in several ways."""

    file: str
    columns: tuple[str, ...]
    spells: bool = True


def _layouts() -> Iterator[Layout]:
    march = columns("March 2026")
    yield Layout("march.xlsx", tuple(march))
    yield Layout("fy2023.xlsx", tuple(columns("March 2026", without=["Birth Date"])))
    yield Layout("july.xlsx", tuple(columns("July 2025")))
    yield Layout("august.xlsx", tuple(columns("August 2026")))
    yield Layout("cleaned.csv", (*cleaned(march), *_ORIGIN))
    yield Layout("cleaned.csv.gz", (*cleaned(columns("July 2025")), *_ORIGIN))
    yield Layout("cleaned.parquet", (*cleaned(columns("August 2026")), *_ORIGIN), spells=False)


LAYOUTS: Final[Mapping[str, Layout]] = {one.file: one for one in _layouts()}


def write(folder: Path, file: str, detainers: Sequence[Detainer], seed: int = 3) -> Path:
    """The detainers as one of LAYOUTS. The seed decides the spelling of dates and redactions."""
    layout, path = LAYOUTS[file], folder / file
    if path.suffix == ".xlsx":
        rng = random.Random(seed)
        return xlsx_stream.write(path, _sheets(layout, detainers, rng))
    rows = _rows(layout, detainers, random.Random(seed))
    if path.suffix == ".parquet":
        _parquet(path, layout, rows)
        return path
    with gzip.open(path, "wt", 1, newline="") if path.suffix == ".gz" else path.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(layout.columns)
        writer.writerows(["NA" if cell is None else cell for cell in row] for row in rows)
    return path


def _sheets(
    layout: Layout, detainers: Sequence[Detainer], rng: random.Random
) -> Iterator[tuple[str, Iterator[Sequence[Any]]]]:
    """A sheet for each fiscal year, which begins in October. Each has the preamble and the header."""
    for year, group in groupby(detainers, lambda one: one.day.year + (one.day.month >= 10)):
        heading = [[line] if line else [] for line in PREAMBLE] + [list(layout.columns)]
        yield f"Detainers FY{year}", chain(heading, _rows(layout, list(group), rng))


def _rows(layout: Layout, detainers: Sequence[Detainer], rng: random.Random) -> Iterator[list[Any]]:
    fields = {_plain(name): field for field, names in FIELDS.items() for name in names}
    sources = [(fields.get(_plain(name)), name) for name in layout.columns]
    for one in detainers:
        yield [
            _cell(one.cells[field], field, layout, rng) if field else _filler(name, one.number)
            for field, name in sources
        ]


def _cell(value: Any, field: str, layout: Layout, rng: random.Random) -> Any:
    if value == REDACTED:
        return None if field == "prepare_date" and not layout.spells else rng.choice(MARKS)
    if isinstance(value, date):
        return _day(value, rng) if layout.spells else value
    is_sheet = layout.file.endswith(".xlsx")
    if field == "charge_code" and value and value.isdecimal() and is_sheet and rng.random() < 0.2:
        return float(value)
    return value


def _day(day: date, rng: random.Random) -> Any:
    """Mostly a date; sometimes text, as 2/11/2026 or 11FEB26, or the number of days that a spreadsheet has."""
    chance = rng.random()
    if chance < 0.1:
        return f"{day.month}/{day.day}/{day.year}"
    if chance < 0.15 and day.year > 2000:
        return day.strftime("%d%b%y").upper()
    return day


def _filler(name: str, number: int) -> Any:
    """A cell of a column that the profile does not read."""
    if "_" in name or number % 3 == 0:
        return None
    if name.endswith("Yes No"):
        return "YES" if number % 2 else "NO"
    return MARKS[number % 2] if number % 7 == 0 else f"{name} & {number % 40}"


def _plain(name: str) -> str:
    return " ".join("".join(sign if sign.isalnum() else " " for sign in name.casefold()).split())


def _parquet(path: Path, layout: Layout, rows: Iterator[list[Any]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"detainer_prepared_date": pa.date32(), "birth_year": pa.int64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in layout.columns])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(rows, _PARQUET_ROWS)):
            columns = [
                pa.array(cells, field.type) for cells, field in zip(zip(*batch, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
