"""services.runtime.migration_locks, services.cli.migrate: each file is declared, and its lines fit a terminal."""

from __future__ import annotations

import pytest

from services.cli.migrate import plan_lines
from services.runtime import migration_locks, migrations
from services.runtime.errors import InvariantError
from services.runtime.migration_locks import Effects, TableEffect, _effects


def test_each_file_is_declared() -> None:
    assert list(migration_locks.declared()) == [one.stem for one in migrations.migrations()]


def test_each_line_fits_a_terminal() -> None:
    for name, effects in migration_locks.declared().items():
        for rows in (-1, 1_000_000_000):
            for line in plan_lines(name, effects, dict.fromkeys(effects.tables, rows)):
                assert len(line) <= 80, line


def test_the_lines_of_a_migration() -> None:
    effects = Effects(
        "something",
        {
            "outbox": TableEffect("SHARE", reads=True),
            "report": TableEffect("ACCESS EXCLUSIVE", rewrites=True, reads=True),
            "rejected": TableEffect("ROW EXCLUSIVE"),
            "later": TableEffect("ACCESS SHARE", reads=True),
        },
    )
    assert list(plan_lines("0010_new", effects, {"outbox": -1, "report": 1_520, "rejected": 7})) == [
        "0010_new: something",
        "  outbox: SHARE, writers wait; reads all rows",
        "  report: ACCESS EXCLUSIVE, all sessions wait; rewrites 1,520 rows",
        "  rejected: ROW EXCLUSIVE, no session waits; reads no rows",
        "  later: ACCESS SHARE, no session waits; reads 0 rows",
    ]
    assert list(plan_lines("0011_empty", Effects("a table", {}), {}))[1:] == ["  locks no existing table"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"locks": {"report": "EXCLUSIV"}},
        {"locks": {"report": "SHARE"}, "reads": ["outbox"]},
        {"rewrites": ["report"]},
    ],
)
def test_a_malformed_declaration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvariantError, match="0010_new"):
        _effects("0010_new", {"changes": "something", **wrong})
