"""services.runtime.negotiation: Accept, Prefer and If-None-Match, including malformed ones."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from services.runtime.negotiation import has_tag, is_strict, preferred, weight

OFFERED = ("application/json", "text/html", "text/csv")
JSON, HTML, CSV = OFFERED


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ([], JSON), ([""], JSON), ([" , "], JSON), (["*/*"], JSON), (["application/*"], JSON), (["text/*"], HTML),
        (["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], HTML),
        (["application/json;q=0.5, text/csv"], CSV), (["text/csv;q=0.001, text/html;q=0.002"], HTML),
        (["application/json;q=0, */*"], HTML), (["*/*, application/json;q=0, text/html;q=0.0"], CSV),
        (["text/*;q=0.5, text/csv"], CSV), (["text/*, text/html;q=0"], CSV), (["application/json;q=0"], None),
        (["*/*;q=0"], None), (["image/png"], None), (["text/csv;q=0.5", "text/html;q=0.6"], HTML),
        (["image/png", "text/csv"], CSV), (["TEXT/CSV ; Q=0.5"], CSV), (["text/csv, text/html"], CSV),
        (["application/json; charset=utf-8"], JSON), (['text/html;level="1,2;3";q=0.1, text/csv;q=0.2'], CSV),
        (["text/html;q=1.000, text/csv;q=1."], HTML),
        (["text/html;q=2, text/csv"], CSV), (["text/html;q=, text/csv"], CSV),
        (["text/html;q=0.1234, text/csv;q=.1"], HTML),
        (["text/html;q=-1, text/csv"], CSV), (["text/html;q=1e0, text/csv"], CSV), (["html, text/csv"], CSV),
        (["*/json, text/csv"], CSV), (["text/, /csv, text/csv"], CSV), (["html"], None), (["text/html;q=x"], None),
        (["text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"], HTML), (["image/gif, *; q=.2"], JSON),
        (["text/html;q=., text/csv"], CSV), (["text/html;q=0., text/csv;q=0."], None),
        (['"text/html, text/csv'], None), ([";q=1"], None),
    ],
)  # fmt: skip
def test_accept_chooses_by_weight_then_by_order(accept: list[str], chosen: str | None) -> None:
    assert preferred(accept, OFFERED) == chosen


RANGES = st.sampled_from([*OFFERED, "*/*", "text/*", "application/*", "image/png", "Text/HTML"])
WEIGHTS = st.sampled_from(["", ";q=0", ";q=0.5", "; q=1", ";q=0.9", ";q=1.000", " ; q=0.001"])


@given(st.lists(st.tuples(RANGES, WEIGHTS).map("".join), min_size=1, max_size=5), st.booleans())
def test_the_chosen_type_has_the_highest_weight_according_to_another_parser(listed: list[str], split: bool) -> None:
    chosen = preferred(listed if split else [", ".join(listed)], OFFERED)
    names = [one.partition(";")[0].strip().lower() for one in listed]
    if len(set(names)) < len(names):
        return  # implementations differ on duplicate ranges
    theirs = parse_accept_header(", ".join(listed), MIMEAccept)
    weights = {media_type: theirs.quality(media_type) for media_type in OFFERED}
    if chosen is None:
        assert max(weights.values()) == 0
    else:
        assert weights[chosen] == max(weights.values()) > 0


TAG = '"abc-json"'


@pytest.mark.parametrize(
    "lines",
    [
        ["*"], [" * "], [TAG], [f"W/{TAG}"], [f'"x", {TAG}'], [f'"x",W/{TAG},"y"'], ['"x"', TAG], [f' , "x",, {TAG} ,'],
        [f'"a,b", {TAG}'], [f'"", {TAG}'], ['"\xe9"', TAG],
    ],
)  # fmt: skip
def test_a_tag_that_the_client_has(lines: list[str]) -> None:
    assert has_tag(lines, TAG)


@pytest.mark.parametrize(
    "lines",
    [
        [], [""], ['"abc"'], ['"abc-json-x"'], ['"x-abc-json"'], ["abc-json"], ["w/" + TAG], [f"W /{TAG}"], [f"x{TAG}"],
        [f"{TAG}x"], [f'"x" {TAG}'], [f'"x" , * , {TAG} y'], [f"*, {TAG}"], [f'"x{TAG}'], [TAG[:-1]], ["'abc-json'"],
        [f'"a b", {TAG}'], ["**"],
    ],
)  # fmt: skip
def test_another_tag_or_a_malformed_one(lines: list[str]) -> None:
    assert not has_tag(lines, TAG)


@pytest.mark.parametrize(
    ("lines", "strict"),
    [
        ([], False), (["handling=strict"], True), (["Handling = Strict"], True), (['handling="strict"'], True),
        (["respond-async, handling=strict; x=1"], True), (["respond-async", "handling=strict"], True),
        (["handling=lenient"], False), (["handling=lenient, handling=strict"], False), (["handling"], False),
        (["return=minimal"], False), (["handling=stricter"], False), (['x="a, handling=strict"'], False),
    ],
)  # fmt: skip
def test_a_client_may_prefer_strict_handling(lines: list[str], strict: bool) -> None:
    assert is_strict(lines) is strict


@pytest.mark.parametrize(
    "text", ['"' * 60_000, '"\\' * 30_000, "," * 60_000, ";" * 60_000, " " * 60_000, 'W/"' * 20_000, "a/b;q=0," * 7_500]
)
def test_any_header_is_parsed_in_linear_time(text: str) -> None:
    """A second is generous; a quadratic algorithm takes minutes."""
    started = time.process_time()
    preferred([text], OFFERED)
    has_tag([text], TAG)
    is_strict([text])
    assert time.process_time() - started < 1


def test_types_absent_from_accept_differ_from_excluded_ones() -> None:
    assert weight([], JSON) == weight([" "], JSON) == weight(["*/*, text/csv;q=0.5"], JSON) == 1
    assert weight(["text/*;q=0.25"], CSV) == 0.25
    assert weight(["application/json;q=0, */*"], JSON) == 0
    assert weight(["text/csv"], JSON) is None


def test_long_runs_of_blanks_take_linear_time() -> None:
    """Each of these takes minutes with a quadratic algorithm."""
    for end in ("x", "", ",", '"', "W/"):
        assert not has_tag(["," + " " * 60_000 + end] * 20, '"a"')
