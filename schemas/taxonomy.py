"""The code lists that events and reports use: offenses (NIBRS), reasons, forms, countries (ISO 3166-1).

Each list is a table in `schemas/data`; its digest goes into every report that used it.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import pycountry


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """One code list: `rows` maps each code to its columns. `sha256` is over the table's bytes, in hex."""

    name: str
    rows: Mapping[str, Mapping[str, str]]
    sha256: str

    def __contains__(self, code: object) -> bool:
        return code in self.rows

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def label(self, code: str) -> str:
        """The name of `code`; KeyError when the list has no such code."""
        return self.rows[code]["name"]


def _load(name: str) -> Taxonomy:
    rows = {row["code"]: MappingProxyType(row) for row in _rows(name)}
    return Taxonomy(name, MappingProxyType(rows), hashlib.sha256(_data(name)).hexdigest())


def _data(name: str) -> bytes:
    return files("schemas").joinpath("data", f"{name}.csv").read_bytes()


def _rows(name: str) -> Iterator[dict[str, str]]:
    return csv.DictReader(line for line in _data(name).decode().splitlines() if not line.startswith("#"))


@cache
def offenses() -> Taxonomy:
    """Offense categories by NIBRS code, with their NCIC class and the group a reader would use."""
    return _load("offenses")


@cache
def reasons() -> Taxonomy:
    """Why a detainer was declined."""
    return _load("reasons")


@cache
def withdrawal_reasons() -> Taxonomy:
    """Why a fact was withdrawn."""
    return _load("withdrawal_reasons")


@cache
def forms() -> Taxonomy:
    """Forms of the requests; those with `notification` = yes do not ask to hold and are totalled apart."""
    return _load("forms")


@cache
def countries() -> Taxonomy:
    """ISO 3166-1 alpha-3 and its region, codes of former countries included (a person's papers may name one)."""
    region_of = {code: row["region"] for row in _rows("regions") for code in row["codes"].split()}
    rows: dict[str, Mapping[str, str]] = {}
    for country in (*pycountry.historic_countries, *pycountry.countries):
        row = {"code": country.alpha_3, "name": country.name, "region": region_of[country.alpha_3]}
        rows[country.alpha_3] = MappingProxyType(row)
    text = "".join(f"{code}\t{rows[code]['name']}\t{rows[code]['region']}\n" for code in sorted(rows))
    return Taxonomy("countries", MappingProxyType(rows), hashlib.sha256(text.encode()).hexdigest())
