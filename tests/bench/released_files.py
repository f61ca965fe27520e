"""`python -m tests.bench.released_files`: how fast released files are read, and with how much memory.

Makes a file of the March 2026 layout (65 columns, four sheets, a different identifier in each row) as XLSX, CSV,
gzipped CSV and Parquet. Reads each in its own process: the rows alone, and the rows as events, as the profile does.
`--readers` also reads the XLSX file with other readers, if they are installed.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import chain, islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from zoneinfo import ZoneInfo

from schemas.week import ReportingCalendar
from services.importer import ice_detainers
from services.importer.files import InputFile
from services.importer.ice_detainers.mapping import ColumnMapping
from services.importer.ice_detainers.reading import recognize
from tests.bench.machine import load
from tests.support import xlsx_stream
from tests.support.released_files import FORM, PREAMBLE, columns, truth

_SHEETS = 4
_PATTERNS = 500
"""Different rows, but for date and identifier; a file has them again and again."""
_FACILITIES = (
    ("CLARK COUNTY JAIL", "CLARKNV", "NEVADA", "LAS VEGAS"),
    ("HARRIS COUNTY JAIL", "HARRITX", "TEXAS", "HOUSTON"),
    ("QUEENS CENTRAL BOOKING", "QUEENNY", "NEW YORK", "QUEENS"),
    ("LA COUNTY JAIL", "LACTYCA", "CALIFORNIA", "LOS ANGELES"),
    ("(b)(6), (b)(7)(c)", "NA", "TEXAS", "DALLAS"),
)
_LIFTED = ("Booked into Detention", "Detainer Declined by LEA", "Duplicate", "Case Closed", None, None)
_DATES = {name for name in columns("March 2026") if name.endswith("Date") and name != "Birth Date"}
NAMES = columns("March 2026")


def rows(count: int) -> Iterator[list[Any]]:
    """The rows of data, always the same."""
    rng = random.Random(1)
    patterns = [_pattern(rng) for _ in range(_PATTERNS)]
    first = date(2022, 10, 1)
    for number in range(count):
        row = list(patterns[number % _PATTERNS])
        row[0] = first + timedelta(days=number * 1_200 // count)
        row[-1] = hashlib.sha1(str(number).encode()).hexdigest()
        yield row


def _pattern(rng: random.Random) -> list[Any]:
    facility, code, state, city = rng.choice(_FACILITIES)
    made = truth(facility=facility, facility_code=code, state=state, city=city, lift_reason=rng.choice(_LIFTED))
    fields = {"Detainer Prepare Date": "prepare_date", "Facility State": "state", "Detainer Facility": "facility",
              "Detainer Facility Code": "facility_code", "Facility City": "city", "Detainer Lift Reason": "lift_reason",
              "Citizenship Country": "citizenship", "Detainer Criminality": "criminality"}  # fmt: skip
    cells: list[Any] = []
    for name in NAMES:
        if name in fields:
            cells.append(made[fields[name]])
        elif name == "Detainer Type":
            cells.append(FORM)
        elif name in _DATES:
            cells.append(date(2020, 1, 1) + timedelta(days=rng.randrange(2_000)) if rng.random() < 0.4 else None)
        elif name.startswith("MSC Sentence") or name == "Birth Year":
            cells.append(float(rng.randrange(40)))
        elif name.endswith("Yes No"):
            cells.append(rng.choice(("YES", "NO", None)))
        else:
            cells.append(rng.choice((f"A value of {name} & more", f"another {name}", "b(6), b(7)c", None)))
    return cells


def make(folder: Path, count: int) -> dict[str, Path]:
    """The files by format."""
    paths = {name: folder / f"detainers.{name}" for name in ("xlsx", "csv", "csv.gz", "parquet")}
    xlsx_stream.write(paths["xlsx"], _sheets(count))
    with paths["csv"].open("w", newline="") as plain, gzip.open(paths["csv.gz"], "wt", 1, newline="") as packed:
        for file in (plain, packed):
            writer = csv.writer(file)
            writer.writerow(NAMES)
            writer.writerows(["NA" if cell is None else cell for cell in row] for row in rows(count))
    _parquet(paths["parquet"], count)
    return paths


def _sheets(count: int) -> Iterator[tuple[str, Iterator[list[Any]]]]:
    source = rows(count)
    for sheet in range(1, _SHEETS + 1):
        heading = [[line] for line in PREAMBLE] + [list(NAMES)]
        yield f"FY{22 + sheet}", chain(heading, islice(source, count // _SHEETS))


def _parquet(path: Path, count: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    source, size = rows(count), 20_000
    kinds = [pa.date32() if name in _DATES else pa.float64() if _is_number(name) else pa.string() for name in NAMES]
    schema = pa.schema(list(zip(NAMES, kinds, strict=True)))
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(source, size)):
            arrays = [pa.array(values, kind) for values, kind in zip(zip(*batch, strict=True), kinds, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _is_number(name: str) -> bool:
    return name.startswith("MSC Sentence") or name == "Birth Year"


def _count_rows(path: Path) -> int:
    found = recognize(InputFile(path), ColumnMapping())
    return sum(1 for one in found for _ in one.sheet.rows(one.row, tuple(one.header.columns.values())))


def _count_events(path: Path) -> int:
    calendar = ReportingCalendar(ZoneInfo("America/New_York"))
    return sum(1 for _ in ice_detainers.read(InputFile(path), "demo", "bench", calendar))


def _calamine(path: Path) -> int:
    from python_calamine import CalamineWorkbook  # type: ignore[import-not-found]

    book = CalamineWorkbook.from_path(path)
    return sum(1 for name in book.sheet_names for _ in book.get_sheet_by_name(name).iter_rows())


def _fastexcel(path: Path) -> int:
    import fastexcel  # type: ignore[import-not-found]

    book = fastexcel.read_excel(path)
    return sum(book.load_sheet_eager(name, header_row=6, dtypes="string").num_rows for name in book.sheet_names)


def _openpyxl(path: Path) -> int:
    import openpyxl

    book = openpyxl.load_workbook(path, read_only=True)
    return sum(1 for sheet in book for _ in sheet.iter_rows(values_only=True))


def _calamine_plus(path: Path) -> int:
    from python_calamine_plus import CalamineWorkbook  # type: ignore[import-not-found]

    book = CalamineWorkbook.from_path(path)
    return sum(1 for name in book.sheet_names for _ in book.stream_sheet_by_name(name))


READERS: dict[str, Callable[[Path], int]] = {
    "rows": _count_rows,
    "events": _count_events,
    "python-calamine": _calamine,
    "fastexcel": _fastexcel,
    "openpyxl read-only": _openpyxl,
    "python-calamine-plus": _calamine_plus,
}


def _measure(reader: str, path: Path) -> None:
    began = perf_counter()
    count = READERS[reader](path)
    took = perf_counter() - began
    peak = _peak_megabytes()
    name = path.name.partition(".")[2]
    _say(f"| {name} | {reader} | {count:,} | {took:.1f} | {process_time():.1f} | {count / took:,.0f} | {peak:.0f} |")


def _peak_megabytes() -> float:
    """The highest resident memory of this program. `getrusage` would include that of its parent before exec."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if "VmHWM" in line)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.released_files", description=__doc__)
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--readers", action="store_true", help="other readers of XLSX too, if they are installed")
    parser.add_argument("--one", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        _measure(chosen.one[0], Path(chosen.one[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = make(Path(folder), chosen.rows)
        _say(load())
        _say("| format | reader | rows | s | CPU s | rows/s | peak MB |\n|---|---|---|---|---|---|---|")
        for path in paths.values():
            for reader in ("rows", "events"):
                _run(reader, path)
        for reader in list(READERS)[2:] if chosen.readers else ():
            _run(reader, paths["xlsx"])


def _run(reader: str, path: Path) -> None:
    subprocess.run([sys.executable, "-m", "tests.bench.released_files", "--one", reader, str(path)], check=False)


if __name__ == "__main__":
    main()
