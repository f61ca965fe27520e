"""services.publisher.site.feed: the Atom feed of revisions, and its route."""

from __future__ import annotations

from datetime import UTC, date, datetime
from xml.etree import ElementTree as ET

import pytest

from schemas.announcement import report_id
from services.publisher.site import feed
from tests.unit.sample_reader import ROW, Pool, reading

ATOM = {"a": "http://www.w3.org/2005/Atom"}
_AT = datetime(2017, 2, 5, 5, 0, 1, 250_000, tzinfo=UTC)


def parsed(*rows: dict[str, object]) -> ET.Element:
    """The feed of these rows, each with the fields of ROW that it does not have."""
    return ET.fromstring(feed.atom([ROW | row for row in rows]))  # our own output


def texts(element: ET.Element, path: str) -> list[str | None]:
    return [one.text for one in element.findall(path, ATOM)]


def test_each_revision_has_an_entry_with_its_numbers_and_links() -> None:
    (entry,) = parsed({"published_at": _AT}).findall("a:entry", ATOM)
    assert texts(entry, "a:id") == [f"urn:uuid:{report_id(date(2017, 1, 28), 1)}"]
    assert texts(entry, "a:title") == ["Week of 2017-01-28, revision 1: first report"]
    assert texts(entry, "a:published") == texts(entry, "a:updated") == ["2017-02-05T05:00:01Z"]
    assert texts(entry, "a:summary") == [f"Issued 118, declined 51. Digest {ROW['digest']}."]
    assert {one.get("type"): one.get("href") for one in entry.findall("a:link", ATOM)} == {
        "text/html": "/v1/reports/2017-01-28/revisions/1.html",
        "application/json": "/v1/reports/2017-01-28/revisions/1.json",
        "text/csv": "/v1/reports/2017-01-28/revisions/1.csv",
    }


@pytest.mark.parametrize(("cause", "label"), [("scheduled", "scheduled revision"), ("correction", "correction")])
def test_the_cause_is_named(cause: str, label: str) -> None:
    found = parsed({"cause": cause, "revision": 2})
    assert texts(found, "a:entry/a:title") == [f"Week of 2017-01-28, revision 2: {label}"]
    assert [one.get("term") for one in found.findall("a:entry/a:category", ATOM)] == [cause]


def test_demonstration_data_is_marked() -> None:
    (summary,) = texts(parsed({"demonstration": True}), "a:entry/a:summary")
    assert "Demonstration data." in (summary or "")


def test_the_feed_has_what_atom_requires() -> None:
    found = parsed({}, {"revision": 2, "published_at": _AT.replace(day=12)})
    for name in ("id", "title", "updated", "author/a:name"):
        assert len(texts(found, f"a:{name}")) == 1
    assert texts(found, "a:updated") == ["2017-02-12T05:00:01Z"], "that of the newest entry"
    assert len(set(texts(found, "a:entry/a:id"))) == 2


def test_a_feed_without_reports_is_valid() -> None:
    found = parsed()
    assert texts(found, "a:updated") == ["1970-01-01T00:00:00Z"]
    assert texts(found, "a:entry/a:id") == []


async def test_the_route_answers_conditional_requests() -> None:
    pool = Pool()
    async with reading(pool) as client:
        response = await client.get("/feed.atom")
        assert response.headers["content-type"] == "application/atom+xml; charset=utf-8"
        assert response.content == feed.atom([ROW])
        assert pool.queries == [(feed.ENTRIES,)]
        again = await client.get("/feed.atom", headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        pool.row = ROW | {"revision": 2}
        changed = await client.get("/feed.atom", headers={"If-None-Match": response.headers["etag"]})
        assert changed.status_code == 200
        assert (await client.head("/feed.atom")).status_code == 200
        assert (await client.get("/feed.atom", params={"week": "1"})).status_code == 400
