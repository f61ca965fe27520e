"""The page that lists weeks."""

from __future__ import annotations

import pytest

from tests.unit.sample_reader import ROW, Pool, reading


@pytest.mark.parametrize(
    ("state", "now", "shown"),
    [("published", {"issued": 121}, "provisional, not yet in it: issued +3, declined -51"), ("final", None, "final")],
)
async def test_the_list_shows_the_status_of_a_week_and_its_pending_facts(
    state: str, now: dict[str, int] | None, shown: str
) -> None:
    pool = Pool()
    pool.row = ROW | {"state": state, "now": now}
    async with reading(pool) as http:
        response = await http.get("/reports")
    assert (response.status_code, f"<td>{shown}</td>" in response.text) == (200, True)
