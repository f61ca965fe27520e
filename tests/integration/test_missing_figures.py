"""Reports that a publisher of an earlier release wrote after the migration get their figures as rows."""

from __future__ import annotations

from services.publisher.queries import SQL
from tests.support.positions import Connection
from tests.support.published import three_weeks

_ROWS = "SELECT week, revision, geoid, issued, declined FROM published_figure ORDER BY 1, 2, 3"


async def test_the_rows_of_a_report_without_any_are_added_once(connection: Connection) -> None:
    await three_weeks(connection)
    whole = await connection.fetch(_ROWS)
    assert whole
    await connection.execute("DELETE FROM published_figure WHERE revision = 1")
    assert await connection.fetch(_ROWS) != whole
    for _ in range(2):
        await connection.execute(SQL["add_missing_figures"])
        assert await connection.fetch(_ROWS) == whole
