"""services.publisher.static_site: the file of an address, and the addresses of a copy."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.publisher.static_site import names
from services.publisher.static_site.names import file_of, is_file
from services.publisher.static_site.scope import Revision, Scope


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("/", "index.html"),
        ("/reports", "reports/index.html"),
        ("/reports/2017-01-28", "reports/2017-01-28/index.html"),
        ("/reports?before=2017-01-28", "reports/before-2017-01-28/index.html"),
        ("/jurisdictions/32003", "jurisdictions/32003/index.html"),
        ("/states/NV", "states/NV/index.html"),
        ("/feed.atom", "feed.atom"),
        ("/calendar", "calendar/index.html"),
        ("/calendar.ics", "calendar.ics"),
        ("/v1/reports", "v1/reports.json"),
        ("/v1/reports?before=2017-01-28", "v1/reports/before-2017-01-28.json"),
        ("/v1/reports/2017-01-28", "v1/reports/2017-01-28.json"),
        ("/v1/reports/2017-01-28.html", "v1/reports/2017-01-28.html"),
        ("/v1/reports/2017-01-28/revisions/1.csv", "v1/reports/2017-01-28/revisions/1.csv"),
        ("/v1/reports/2017-01-28/revisions/1/line-list", "v1/reports/2017-01-28/revisions/1/line-list.json"),
        ("/v1/series?geoid=32003", "v1/series/32003.json"),
        ("/v1/datapackage.zip", "v1/datapackage.zip"),
    ],
)
def test_an_address_has_a_file(address: str, file: str) -> None:
    assert file_of(address) == file
    assert is_file(file)


@pytest.mark.parametrize(
    "address",
    [
        "", "reports", "//evil", "/../x", "/a/../../x", "/.git/config", "/a//b", "/a/", "/a%2e", "/a\\b", "/a\nb",
        "/a\0", "/a/.b", "/x?q=1", "/x?before=..", "/x?geoid=a/b", "/x?geoid=1&before=2", "/x?before=",
        "/?before=2017-01-28",
        "/x.csv?before=2017-01-28", "/README.txt", "/SHA256SUMS", "/SHA256SUMS/a", "/" + "a" * 101, "/a" * 9, "/é",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_a_file_has_none(address: str) -> None:
    assert file_of(address) is None


@given(st.text(alphabet="/.?=&ab1-%\\\n\0 é") | st.text())
def test_no_file_leaves_the_directory(text: str) -> None:
    for address in (text, f"/{text}", f"/v1/series?geoid={text}"):
        file = file_of(address)
        assert file is None or (is_file(file) and not any(part.startswith(".") for part in file.split("/")))


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x.html", "a/../x.html", ".ddor-site", "a/.x.html", "a\\x.html"]
)
def test_a_list_with_another_name_is_damaged(name: str) -> None:
    assert not is_file(name)


@pytest.mark.parametrize(
    ("file", "media_type", "right"),
    [
        ("a/index.html", "text/html; charset=utf-8", True),
        ("v1/a.json", "text/csv", False),
        ("v1/a.json", "application/json", True),
        ("a/index.html", "application/json", False),
        ("a.ics", "text/calendar", True),
    ],
)
def test_a_file_has_the_suffix_of_its_media_type(file: str, media_type: str, right: bool) -> None:
    assert names.has_suffix_of(file, media_type) is right


def _revision(week: str, number: int) -> Revision:
    return Revision(date.fromisoformat(week), number, "d", datetime(2017, 2, 5, tzinfo=UTC), demonstration=False)


SCOPE = Scope(
    [_revision("2017-01-28", 1), _revision("2017-02-04", 1), _revision("2017-01-28", 2)],
    ["32003", "US"],
    ["/", "/reports", "/reports/{name}", "/v1/reports/stream", "/v1/series", "/desk", "/calendar"],
)


def test_the_database_gives_weeks_revisions_and_jurisdictions_with_a_row() -> None:
    addresses = list(SCOPE.enumerated.values())
    assert addresses[:7] == [
        "/reports/2017-02-04",
        "/v1/reports/2017-02-04.html",
        "/v1/reports/2017-02-04/revisions/1.html",
        "/v1/reports/2017-02-04.json",
        "/v1/reports/2017-02-04/revisions/1.json",
        "/v1/reports/2017-02-04.csv",
        "/v1/reports/2017-02-04/revisions/1.csv",
    ]
    assert addresses[-4:] == [
        "/jurisdictions/32003", "/v1/series?geoid=32003", "/jurisdictions/US", "/v1/series?geoid=US",
    ]  # fmt: skip
    assert len(addresses) == 7 + 10 + 4


def test_routes_without_parameters_are_requested_too() -> None:
    assert SCOPE.starts[0] == "/"
    assert {"/reports", "/calendar", "/reports/latest", "/v1/reports/latest.json"} <= set(SCOPE.starts)
    assert not {"/desk", "/v1/series", "/v1/reports/stream", "/reports/{name}"} & set(SCOPE.starts)


@pytest.mark.parametrize(
    "address",
    [
        "/desk", "/desk/held", "/v1/reports/stream", "/jurisdictions/31037", "/v1/series?geoid=31037",
        "/reports/2017-02-11", "/v1/reports/2017-01-28/revisions/3.json",
    ],
)  # fmt: skip
def test_a_copy_has_nothing_else_of_these_kinds(address: str) -> None:
    assert SCOPE.file(address) is None


def test_other_pages_may_be_there() -> None:
    assert SCOPE.file("/states/NV") == "states/NV/index.html"
    assert SCOPE.file("/v1/reports/2017-01-28") == "v1/reports/2017-01-28.json"


def test_a_restored_database_has_lost_addresses() -> None:
    assert not SCOPE.has_lost(["/", "/states/NV", "/reports/2017-01-28", ""])
    assert SCOPE.has_lost(["/reports/2017-02-11"])
    assert SCOPE.has_lost(["/jurisdictions/31037"])
