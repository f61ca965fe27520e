"""services.publisher.desk.routes: who gets the desk, and with which headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import httpx
import pytest
import structlog.testing
from starlette.applications import Starlette

from services.publisher.desk.access import DeskKey
from services.publisher.desk.contents import Contents
from services.publisher.desk.desk import Desk
from services.publisher.desk.routes import DeskRoutes
from tests.unit.sample_desk import contents

KEY = "planted: a key of the desk"


class FakeDesk:
    """Returns the same contents, and counts how often they are read."""

    def __init__(self) -> None:
        self.shown = contents()
        self.readings = 0

    async def contents(self) -> Contents:
        self.readings += 1
        return self.shown

    async def close(self) -> None: ...


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
async def client(desk: FakeDesk) -> AsyncIterator[httpx.AsyncClient]:
    seconds = iter(range(0, 10_000, 25))
    routes = DeskRoutes(cast("Desk", desk), DeskKey(KEY), lambda: next(seconds))
    async with (
        routes.connected(),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(Starlette(routes=routes.routes)), base_url="http://publisher"
        ) as client,
    ):
        yield client


async def test_without_a_key_it_is_401_with_a_challenge_and_nothing_is_read(
    client: httpx.AsyncClient, desk: FakeDesk
) -> None:
    for auth in (None, ("ada", "wrong"), (KEY, "")):
        response = await client.get("/desk", auth=auth)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == 'Basic realm="ddor desk", charset="UTF-8"'
        assert response.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "Nothing to act on" not in response.text
    assert desk.readings == 0


async def test_with_the_key_it_is_a_page_that_is_not_stored(client: httpx.AsyncClient) -> None:
    response = await client.get("/desk", auth=("", KEY))
    assert (response.status_code, "Nothing to act on." in response.text) == (200, True)
    assert {name: response.headers[name] for name in ("cache-control", "referrer-policy", "x-robots-tag")} == {
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-robots-tag": "noindex",
    }
    assert "script-src" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_without_postgresql_it_is_503_with_the_page(client: httpx.AsyncClient, desk: FakeDesk) -> None:
    desk.shown = contents(state=None, growing=None, away={"PostgreSQL": "it cannot be reached"})
    response = await client.get("/desk?refresh=10", auth=("", KEY))
    assert (response.status_code, response.headers["cache-control"]) == (503, "no-store")
    assert "PostgreSQL cannot be read." in response.text
    assert '<meta http-equiv="refresh" content="10">' in response.text, "it recovers without the operator"


@pytest.mark.parametrize("query", ["refresh=1", "refresh=10&refresh=10", "week=2017-01-28"])
async def test_an_unknown_parameter_is_400_and_only_with_the_key(
    client: httpx.AsyncClient, desk: FakeDesk, query: str
) -> None:
    assert (await client.get(f"/desk?{query}")).status_code == 401
    response = await client.get(f"/desk?{query}", auth=("", KEY))
    assert (response.status_code, response.headers["cache-control"]) == (400, "no-store")
    assert desk.readings == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_it_can_only_be_read(client: httpx.AsyncClient, method: str) -> None:
    assert (await client.request(method, "/desk", auth=("", KEY))).status_code == 405


async def test_wrong_keys_are_logged_once_a_minute_without_the_key(client: httpx.AsyncClient) -> None:
    """Each log message takes two steps of 25 s of the clock, each other wrong key one."""
    with structlog.testing.capture_logs() as logged:
        await client.get("/desk")
        for _ in range(5):
            await client.get("/desk", auth=("", "wrong-key"))
    assert [(one["event"], one["wrong_keys"]) for one in logged] == [("desk-refused", 1), ("desk-refused", 3)]
    assert "wrong-key" not in str(logged)
