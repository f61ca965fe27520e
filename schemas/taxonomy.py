"""The code lists of events and reports: offenses (NIBRS), reasons, forms, countries (ISO 3166-1, ICAO 9303), policies.

Each list is a table in `schemas/data`, so that no package release changes the accepted codes. A report contains the
digest of each list that it used.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """One code list. `rows` maps each code to its columns; `sha256` is the hex digest of the table's bytes."""

    name: str
    rows: Mapping[str, Mapping[str, str]]
    sha256: str

    def __contains__(self, code: object) -> bool:
        return code in self.rows

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def label(self, code: str) -> str:
        """The name of `code`. Raises KeyError if the list does not contain it."""
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
    """Offense categories by NIBRS code, with their NCIC class and a plain-language group."""
    return _load("offenses")


@cache
def reasons() -> Taxonomy:
    """Reasons for declining a detainer."""
    return _load("reasons")


@cache
def withdrawal_reasons() -> Taxonomy:
    """Reasons for withdrawing a fact."""
    return _load("withdrawal_reasons")


@cache
def forms() -> Taxonomy:
    """Request forms. Forms with `notification` = yes do not ask to hold; they have a total of their own."""
    return _load("forms")


@cache
def countries() -> Taxonomy:
    """Citizenships with their regions: ISO 3166-1 alpha-3, former countries, and the further codes of ICAO 9303."""
    return _load("countries")


@cache
def policy_codes() -> Taxonomy:
    """Criteria for honoring a request, as policies limiting detainers name them."""
    return _load("policy_codes")
