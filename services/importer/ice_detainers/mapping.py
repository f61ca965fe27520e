"""A user's mapping file (TOML) for a file of another layout: which column has which field, what lift reasons mean."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.importer.ice_detainers import layouts
from services.importer.ice_values import DECLINED, OTHER
from services.runtime.errors import ConfigurationError

_MEANINGS = {
    "declined": DECLINED,
    "other": OTHER,
    "duplicate": "duplicate-record",
    "superseded": "superseded-by-new-form",
}
_KEYS = ("name", "ignore_sheets", "date_formats", "columns", "lift_reasons")


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """The content of a mapping file. It adds to the built-in layouts and lift reasons."""

    name: str = ""
    ignore_sheets: frozenset[str] = frozenset()
    date_formats: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    lift_reasons: Mapping[str, str] = field(default_factory=dict)
    """Meanings by reason in lower case."""


def load(path: Path) -> ColumnMapping:
    """Read a mapping file. ConfigurationError, which names the key, when something in it is wrong."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path.name}: {error}") from error
    try:
        return parse(document)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path.name}: {error}") from error


def parse(document: Mapping[str, Any]) -> ColumnMapping:
    """The mapping of a TOML document; ConfigurationError as `load`."""
    _only(document, _KEYS, "")
    columns = _table(document, "columns")
    _only(columns, layouts.fields(), "columns.")
    reasons = _table(document, "lift_reasons")
    _only(reasons, tuple(_MEANINGS), "lift_reasons.")
    meanings: dict[str, str] = {}
    for key, meaning in _MEANINGS.items():
        for reason in _texts(reasons, key, "lift_reasons."):
            if meanings.setdefault(" ".join(reason.casefold().split()), meaning) != meaning:
                raise ConfigurationError(f"lift_reasons: {reason!r} has two meanings")
    return ColumnMapping(
        _text(document, "name", "") if "name" in document else "",
        frozenset(_texts(document, "ignore_sheets", "")),
        tuple(_texts(document, "date_formats", "")),
        {key: _text(columns, key, "columns.") for key in columns},
        meanings,
    )


def _only(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    if unknown := sorted(set(table) - set(known)):
        raise ConfigurationError(f"{where}{unknown[0]} is not a key of a mapping file; there are {', '.join(known)}")


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{key} must be a table")
    return table


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    if not isinstance(table[key], str) or not table[key].strip():
        raise ConfigurationError(f"{where}{key} must be text")
    return str(table[key])


def _texts(table: Mapping[str, Any], key: str, where: str) -> list[str]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, str) and one.strip() for one in found):
        raise ConfigurationError(f"{where}{key} must be a list of texts")
    return found
