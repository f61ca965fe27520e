"""The effects of each migration on existing tables: locks, rewrites, reads. Declared in `deploy/migrations/locks.toml`.

The SQL files never change, so the declarations are in a file of their own. `tests/integration/test_migration_locks.py`
compares them with a real PostgreSQL.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from services.runtime.errors import InvariantError

MODES: Final = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
"""PostgreSQL's lock modes of tables, from the weakest to the strongest."""
_BLOCKS_WRITERS: Final = MODES.index("SHARE")


@dataclass(frozen=True, slots=True)
class TableEffect:
    """A migration's effect on one table that exists before it.

    `mode` is the strongest lock, held to the end of the file. `rewrites`: its rows are written to a new file.
    `reads`: all its rows are read.
    """

    mode: str
    rewrites: bool = False
    reads: bool = False

    @property
    def waiting(self) -> str:
        """Whose statements on the table wait until the migration ends."""
        if self.mode == MODES[-1]:
            return "all sessions wait"
        return "writers wait" if MODES.index(self.mode) >= _BLOCKS_WRITERS else "no session waits"


@dataclass(frozen=True, slots=True)
class Effects:
    """The declaration of one file: a phrase for operators, and the effects by table."""

    changes: str
    tables: Mapping[str, TableEffect]


def declared() -> dict[str, Effects]:
    """The declarations by the name of the file without `.sql`. Raises InvariantError if one is malformed."""
    table = tomllib.loads((files("deploy.migrations") / "locks.toml").read_text(encoding="utf-8"))
    return {name: _effects(name, one) for name, one in table.items()}


def _effects(name: str, one: dict[str, Any]) -> Effects:
    tables = {
        table: TableEffect(mode, table in one.get("rewrites", ()), table in one.get("reads", ()))
        for table, mode in one.get("locks", {}).items()
    }
    unlocked = {*one.get("rewrites", ()), *one.get("reads", ())} - tables.keys()
    if unlocked or not {effect.mode for effect in tables.values()} <= {*MODES}:
        raise InvariantError(f"locks.toml, {name}: each table needs a lock, each lock a mode of PostgreSQL")
    return Effects(one["changes"], tables)
