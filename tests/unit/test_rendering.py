"""services.publisher.site.rendering: JSON, CSV and HTML of a report agree, and none of them contains active content."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from schemas.detainer import Kind
from services.publisher.site import rendering
from services.publisher.site.rendering import as_csv, as_html, as_json, content_security_policy, list_page
from tests.unit.sample_reports import Declined, listed, report, report_inputs, snapshot

Document = dict[str, Any]

WEST = listed(("vegas", "issued declined", "32*"), ("nassau", "declined", "36059"))


def document(*, notes: tuple[str, ...] = (), **changes: object) -> Document:
    seen = snapshot(
        {"32003": 1_118, "32031": 18},
        {"32003": 51, "36059": 38},
        heard={("vegas", kind): 1 for kind in WEST.listed[0].kinds},
        declines=[Declined(["90D:charged"]), Declined(None)],
        forms={"I-247D": 1_136},
    )
    made = report(seen, report_inputs(WEST, notes=notes))
    return made.model_dump(mode="json") | {"digest": made.digest} | changes


def named(name: str) -> Document:
    """The document with one jurisdiction of this name."""
    found = document()
    row = found["jurisdictions"][0] | {"name": name}
    return found | {"jurisdictions": [row], "top": [row]}


class Page(HTMLParser):
    """The rows of each table, by its heading, and all tags."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.tags: list[str] = []
        self._heading = self._text = ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("td", "th", "h2"):
            self._text = ""
        if tag == "tr":
            self.tables.setdefault(self._heading, []).append([])

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "h2":
            self._heading = self._text
        elif tag in ("td", "th"):
            self.tables[self._heading][-1].append(self._text.strip())


def test_json_csv_and_page_agree() -> None:
    found = document()
    from_json = [
        [row[name] for name in rendering.CSV_COLUMNS[3:-1]] for row in json.loads(as_json(found))["jurisdictions"]
    ]
    from_csv = [row[3:-1] for row in csv.reader(io.StringIO(as_csv(found).decode()))][1:]
    assert from_csv == [["" if cell is None else str(cell) for cell in row] for row in from_json]
    from_page = Page(as_html(found)).tables["All jurisdictions"][1:]
    assert sorted(row for row in from_page if len(row) > 1) == sorted(
        [name, geoid, *("U" if n is None else f"{n:,}" for n in (issued, declined))]
        for geoid, name, _, issued, declined in from_json
    )
    assert [row for row in from_page if len(row) == 1] == [["Nevada"], ["New York"]]
    assert from_json[0] == ["32003", "Clark County", "NV", 1118, 51]
    assert from_json[1] == ["36059", "Nassau County", "NY", None, 38]


def test_a_row_absent_from_the_report_is_not_unknown() -> None:
    change = {"geoid": "16001", "kind": "declined", "old": None, "new": 1, "causes": {"late": 1}}
    rows = Page(as_html(document(revision=2, changes=[change]))).tables["Changed since revision 1"]
    assert rows[1:] == [["16001", "declined", "no figure", "1", "late +1"]]


def test_json_is_canonical_and_complete() -> None:
    found = document()
    assert as_json(found) == rfc8785.dumps(found)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.from_regex(r"[A-Za-z0-9_./:-]+", fullmatch=True), inner),
        max_leaves=20,
    )
)
def test_the_bytes_are_those_of_the_canonical_form(value: Any) -> None:
    assert as_json({"value": value}) == rfc8785.dumps({"value": value})


def test_a_json_file_proves_its_own_digest() -> None:
    kept = json.loads(as_json(document()))
    digest = kept.pop("digest")
    assert hashlib.sha256(rfc8785.dumps(kept)).hexdigest() == digest


def test_csv_distinguishes_unknown_from_zero() -> None:
    rows = {row["geoid"]: row for row in csv.DictReader(io.StringIO(as_csv(document()).decode()))}
    assert (rows["36059"]["issued"], rows["32031"]["declined"]) == ("", "0")


def test_csv_has_the_columns_and_line_ends_of_the_contract() -> None:
    text = as_csv(document()).decode()
    assert text.startswith(
        "week_start,week_end,revision,geoid,name,state,issued,declined,note\r\n2017-01-28,2017-02-03,1,32003,"
    )
    assert text.endswith("\r\n")
    assert as_csv(document(notes=("Demonstration.",))).splitlines()[0].decode() == text.splitlines()[0]


def test_every_line_of_a_demonstration_is_marked() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(document(notes=("Demonstration.", "Not real."))).decode())))
    assert {row["note"] for row in rows} == {"Demonstration. Not real."}
    assert {row["note"] for row in csv.DictReader(io.StringIO(as_csv(document()).decode()))} == {""}
    assert b"Demonstration." in as_html(document(notes=("Demonstration.",)))


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "\n=1"])
def test_no_cell_is_a_formula(name: str) -> None:
    (row,) = csv.DictReader(io.StringIO(as_csv(named(name)).decode(), newline=""))
    assert row["name"] == f"'{name}"


@pytest.mark.parametrize("name", ['Prince George"s, County', "Line\nbreak", "Doña Ana"])
def test_csv_quotes_what_needs_it(name: str) -> None:
    (row,) = csv.DictReader(io.StringIO(as_csv(named(name)).decode(), newline=""))
    assert row["name"] == name


def test_a_name_with_markup_is_text() -> None:
    content = as_html(named("<script>alert(1)</script>&\"'"))
    page = Page(content)
    assert page.tags.count("script") == 1, "the block of data"
    assert b"&lt;script&gt;" in content
    assert page.tables["Most declined"][1][0] == "<script>alert(1)</script>&\"', NV"


def test_a_note_with_markup_is_text() -> None:
    assert "img" not in Page(as_html(document(notes=("<img src=x onerror=alert(1)>",)))).tags


@pytest.mark.parametrize("content", [as_html(document()), list_page([], None)], ids=["report", "list"])
def test_the_policy_allows_exactly_the_pages_own_style(content: bytes) -> None:
    (style,) = re.findall(rb"<style>(.*?)</style>", content, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in content_security_policy()
    assert "default-src 'none'" in content_security_policy()
    page = Page(content)
    assert not {"img", "iframe"} & set(page.tags)
    scripts = re.findall(rb"<script([^>]*)>", content)
    assert set(scripts) <= {b' type="application/ld+json"'}, "a block of data, which no browser runs"
    links = re.findall(rb"<link rel=\"(\w+)\"", content)
    assert set(links) <= {b"alternate", b"canonical"}, "nothing is loaded"
    assert len(links) == page.tags.count("link")
    assert b" style=" not in content
    assert not re.search(rb" on\w+=", content)


def test_a_page_of_an_empty_week_has_a_note() -> None:
    made = report(snapshot())
    content = as_html(made.model_dump(mode="json") | {"digest": made.digest})
    assert b"Nothing was counted in this week." in content
    assert b"None was declined." in content


def test_a_page_shows_ties_and_digests() -> None:
    found = document(tied_at_tenth=3)
    content = as_html(found).decode()
    assert "3 more have as many as the tenth." in content
    assert found["digest"] in content
    assert found["figures_digest"] in content


def test_a_page_of_a_later_revision_shows_late_figures() -> None:
    first = document()
    assert b"did not include" not in as_html(first)
    later = document(revision=2, scope=first["scope"] | {"late": 1_003})
    assert b"that the first report of this week did not include: 1,003." in as_html(later)


def test_a_page_shows_attestations_and_their_differences() -> None:
    seen = snapshot({"32003": 5}, heard={("vegas", Kind.ISSUED): 5}, attested={("vegas", Kind.ISSUED): 1_007})
    made = report(seen, report_inputs(WEST))
    content = as_html(made.model_dump(mode="json") | {"digest": made.digest}).decode()
    assert "<td>differing</td>" in content
    assert '<td class="n">5</td><td class="n">1,007 (+1,002)</td>' in content
    assert "<td>silent</td>" in content


def test_the_list_has_weeks_and_links() -> None:
    row = {"week": "2017-01-28", "revision": 2, "demonstration": True, "totals": {"issued": 3083, "declined": 206}}
    row |= {"status": "provisional", "pending": {"issued": 4, "declined": -1}}
    final = {name: value for name, value in row.items() if name != "pending"} | {"status": "final"}
    content = list_page([row, final], None).decode()
    assert "<td>final</td>" in content
    assert '<a href="/reports/2017-01-28">2017-01-28</a> (demonstration)' in content
    assert "3,083" in content
    assert "provisional, not yet in it: issued +4, declined -1" in content
    assert "No week has been published yet." in list_page([], None).decode()


def test_there_is_a_media_type_for_each_format() -> None:
    assert set(rendering.MEDIA_TYPES) == {"json", "csv", "html"}
    for form in rendering.MEDIA_TYPES:
        assert rendering.render(document(), form)


def test_the_map_and_the_states_show_the_numbers_of_the_tables() -> None:
    found = document()
    content = as_html(found).decode()
    circles = re.findall(r"<circle [^>]*><title>([^<]*): ([0-9,]+)</title></circle>", content)
    declined = [row for row in found["jurisdictions"] if row["declined"]]
    assert dict(circles) == {f"{row['name']}, {row['state']}": f"{row['declined']:,}" for row in declined}
    tiles = dict(
        re.findall(r'<text class="state"[^>]*>([A-Z]{2})</text><text class="count"[^>]*>([^<]*)</text>', content)
    )
    assert (tiles["NV"], tiles["NY"], tiles["TX"]) == ("51", "38", "·")
    assert Page(content.encode()).tables["By state"][1:] == [
        ["Nevada", "2", "1,136", "51"],
        ["New York", "1", "U", "38"],
    ]


def test_charged_and_convicted_are_side_by_side() -> None:
    found = document()
    rows = [("90D", "charged", 3), ("13A", "convicted", 5), ("90D", "convicted", 1)]
    found["tables"]["offenses"] = [
        {"category": category, "name": f"Offense {category}", "basis": basis, "n": n} for category, basis, n in rows
    ]
    table = Page(as_html(found)).tables["What the declined were charged with or convicted of"]
    assert [[row[0], row[1], row[2], row[4]] for row in table[1:]] == [
        ["Offense 13A", "13A", "0", "5"],
        ["Offense 90D", "90D", "3", "1"],
    ]


def test_the_files_have_their_size_and_digest() -> None:
    found = document()
    rows = {row[0]: row[1:] for row in Page(as_html(found)).tables["Files, citation, check"][1:]}
    for form, body in {"JSON": as_json(found), "CSV": as_csv(found)}.items():
        assert rows[form] == [f"{len(body):,}", hashlib.sha256(body).hexdigest()]


def test_the_page_has_a_dataset_for_search_engines() -> None:
    found = named("</script><script>alert(1)</script>")
    content = as_html(found | {"notes": ["</script>"]}).decode()
    (data,) = re.findall(r'<script type="application/ld\+json">(.*?)</script>', content, re.DOTALL)
    dataset = json.loads(data)
    assert (dataset["@type"], dataset["temporalCoverage"]) == ("Dataset", "2017-01-28/2017-02-03")
    assert dataset["identifier"] == found["digest"]
    assert {one["contentUrl"] for one in dataset["distribution"]} == {
        f"/v1/reports/2017-01-28/revisions/1.{form}" for form in ("json", "csv")
    }


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        ("2017-02-04", "2017-02-10", "4 to 10 February 2017"),
        ("2017-01-28", "2017-02-03", "28 January to 3 February 2017"),
        ("2016-12-31", "2017-01-06", "31 December 2016 to 6 January 2017"),
    ],
)
def test_the_days_of_a_week_are_in_words(first: str, last: str, text: str) -> None:
    content = as_html(document(week_start=first, week_end=last)).decode()
    assert f"Week of {text}</p>" in content


def test_a_row_without_a_place_on_the_map_is_named() -> None:
    found = document()
    row = {"geoid": "US", "name": "<b>Federal</b> custody", "state": None, "issued": 1, "declined": 7}
    content = as_html(found | {"jurisdictions": [row]}).decode()
    assert "Not on the map:" in content
    assert "&lt;b&gt;Federal&lt;/b&gt; custody (7)" in content
