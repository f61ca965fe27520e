"""services.publisher.site.trend: sentences and charts of a year of weekly totals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from services.publisher.site import trend
from services.publisher.site.rendering import as_html
from tests.unit.test_rendering import Page, document

LAST = date(2017, 1, 28)


def week(back: int, issued: int, declined: int, **changes: object) -> dict[str, Any]:
    """The week `back` weeks before LAST."""
    day = str(LAST - timedelta(weeks=back))
    first = {"first_issued": issued, "first_declined": declined}
    return {
        "week": day,
        "revision": 1,
        "issued": issued,
        "declined": declined,
        "provisional": False,
        **first,
        **changes,
    }


def declined(*numbers: int) -> list[dict[str, Any]]:
    """Consecutive weeks with these numbers of declines, the last of them LAST."""
    return [week(len(numbers) - 1 - position, 0, n) for position, n in enumerate(numbers)]


def test_a_single_week_has_no_points_and_no_chart() -> None:
    assert trend.main_points(declined(206)) == {}
    assert trend.charts(declined(206)) == []
    assert trend.main_points([]) == {}
    assert trend.charts([]) == []


def test_a_week_is_compared_with_the_newest_figure_of_the_week_before() -> None:
    weeks = [week(1, 3_000, 190, revision=2, first_declined=188), week(0, 3_083, 206)]
    assert trend.main_points(weeks) == {
        "issued": ["83 more than in the week before (3,000)."],
        "declined": ["16 more than in the week before (190, revised from 188)."],
    }


def test_fewer_and_as_many() -> None:
    assert trend.main_points(declined(7, 5))["declined"] == ["2 fewer than in the week before (7)."]
    assert trend.main_points(declined(5, 5))["declined"] == ["As many as in the week before (5)."]


def test_a_mean_needs_four_weeks_in_a_row() -> None:
    assert trend.main_points(declined(1, 2, 3, 5))["declined"][1:] == ["Mean of the last 4 weeks: 2.8."]
    gap = [week(4, 0, 1), week(2, 0, 2), week(1, 0, 3), week(0, 0, 4)]
    assert trend.main_points(gap)["declined"] == ["1 more than in the week before (3)."]


def test_a_median_needs_52_weeks_in_a_row_and_last_year_its_week() -> None:
    numbers = [1_000, *range(1, 53)]
    points = trend.main_points(declined(*numbers))["declined"]
    assert points[2:] == [
        "Median of the last 52 weeks: 26.5. Maximum: 52, in the week of 2017-01-28.",
        "Same week of the year before (2016-01-30): 1,000.",
    ]
    assert len(trend.main_points(declined(*numbers[2:]))["declined"]) == 2


def test_a_chart_begins_at_zero_and_a_missing_week_interrupts_its_line() -> None:
    weeks = [week(4, 0, 10), week(3, 0, 20), week(1, 0, 15), week(0, 0, 0)]
    _, chart = trend.charts(weeks)
    assert chart.top == 20
    assert len(chart.lines) == 2
    ys = [point.y for point in chart.points]
    zero, top = ys[3], ys[1]
    assert ys[0] == (zero + top) / 2, "linear"
    assert zero > ys[2] > top
    assert chart.points[-1].x == max(point.x for point in chart.points)


def test_a_year_fits_the_drawing() -> None:
    _, chart = trend.charts(declined(*range(53)))
    assert all(0 < point.x < trend.WIDTH and 0 < point.y < trend.HEIGHT for point in chart.points)
    assert len({point.x for point in chart.points}) == 53


def test_weeks_without_a_decline_have_a_chart() -> None:
    assert trend.charts(declined(0, 0))[1].top == 1


def test_provisional_and_revised_weeks_are_marked() -> None:
    weeks = [week(1, 5, 5, first_declined=4, revision=2), week(0, 5, 5, provisional=True)]
    _, chart = trend.charts(weeks)
    assert [(one.is_revised, one.is_provisional) for one in chart.points] == [(True, False), (False, True)]


def context(weeks: list[dict[str, Any]], **changes: object) -> dict[str, Any]:
    none: dict[str, Any] = {"previous": None, "next": None, "status": None, "places": {}, "states": {}, "contact": None}
    return {"published_at": "2017-02-05T05:00+00:00", "weeks": weeks, **none, **changes}


def page(report: Mapping[str, Any], weeks: list[dict[str, Any]], **changes: object) -> str:
    return as_html(dict(report), context(weeks, **changes)).decode()


def test_the_page_shows_the_points_the_charts_and_their_table() -> None:
    weeks = [week(1, 3_000, 190, first_declined=188, revision=2), week(0, 1_136, 89)]
    shown = page(document(), weeks, previous="2017-01-21")
    assert "1,864 fewer than in the week before (3,000)." in shown
    assert shown.count("<polyline") == 2
    assert 'published <time class="when" datetime="2017-02-05T05:00+00:00">5 February 2017, 05:00 UTC</time>' in shown
    assert 'rel="prev" href="/reports/2017-01-21"' in shown
    assert "Not the latest release" not in shown
    rows = Page(shown.encode()).tables["The year up to this week"]
    assert rows[1:] == [["2017-01-28", "1,136", "1,136", "89", "89"], ["2017-01-21", "3,000", "3,000", "190", "188"]]


def test_a_page_with_a_later_week_says_so() -> None:
    shown = page(document(), [week(0, 1_136, 89)], next="2017-02-04")
    assert "Not the latest release" in shown
    assert 'rel="next" href="/reports/2017-02-04"' in shown


def test_an_older_revision_has_no_comparison_with_newest_figures() -> None:
    shown = page(document(), [week(1, 3_000, 190), week(0, 1_136, 90, revision=2)])
    assert "Main points" not in shown
    assert "<polyline" not in shown


def test_an_unknown_number_interrupts_a_chart_and_needs_no_other_kind() -> None:
    weeks = [week(3, 1, 1), week(2, 1, 2), {**week(1, 1, 0), "declined": None}, {**week(0, 1, 3), "issued": None}]
    issued, declines = trend.charts(weeks)
    assert [point.n for point in issued.points] == [1, 1, 1]
    assert len(declines.lines) == 1
    assert declines.points[-1].x > issued.points[-1].x, "both end at the same week, known or not"
    assert [one.kind for one in trend.charts([{**one, "issued": None} for one in weeks])] == ["declined"]


def test_weeks_more_than_a_year_before_the_last_are_not_drawn() -> None:
    _, chart = trend.charts(declined(*range(60)))
    assert len(chart.points) == 53


def test_a_first_number_that_is_unknown_is_no_revision() -> None:
    weeks = [week(1, 5, 5), week(0, 5, 5, first_declined=None)]
    assert not any(point.is_revised for point in trend.charts(weeks)[1].points)


def test_a_leading_jurisdiction_is_compared_with_its_other_weeks() -> None:
    weeks = [week(1, 3_000, 190), week(0, 1_136, 89)]
    places = {"32003": {"2017-01-21": 60, "2016-12-31": 60, "2016-12-24": 3}, "36059": {"2017-01-21": None}}
    shown = page(document(), weeks, places=places)
    clark, nassau, *_ = Page(shown.encode()).tables["Most declined"][1:]
    assert clark == ["Clark County, NV", "32003", "51", "", "60", "", "60", "1,118"]
    assert nassau == ["Nassau County, NY", "36059", "38", "", "U", "", "38", "U"]
    assert '<a href="/reports/2017-01-21">60</a>' in shown, "the newest of the weeks with the greatest number"
    assert Page(page(document(), weeks).encode()).tables["Most declined"][1][4] == "·"


def test_a_sparkline_is_interrupted_by_an_unknown_number() -> None:
    days = [str(LAST - timedelta(weeks=back)) for back in range(13)]
    numbers = dict.fromkeys(days, 4) | {days[1]: 0, days[3]: None, days[12]: 1_000}
    spark = trend.sparkline(numbers, days[0], width=13, height=12)
    assert spark is not None
    assert [len(line.split()) for line in spark.lines] == [8, 3]
    assert spark.lines[1] == "10,1 11,11 12,1", "0 is at the bottom; the thirteenth week does not count"
    assert trend.sparkline({days[0]: 4, days[2]: 5}, days[0]) is None
    zero = trend.sparkline({days[0]: 0, days[1]: 0}, days[0], width=13, height=12)
    assert zero is not None
    assert zero.lines == ["11,11 12,11"]


def test_a_tile_has_the_line_of_its_state() -> None:
    weeks = [week(1, 3_000, 190), week(0, 1_136, 89)]
    states = {"NV": {"2017-01-21": 4, "2017-01-28": 51}, "NY": {"2017-01-28": 38}}
    shown = page(document(), weeks, states=states)
    assert shown.count('<g class="line"') == 1
    assert '<text class="count" x="41" y="33">51</text><g class="line"' in shown


def test_the_latest_week_has_the_contact_and_the_calendar() -> None:
    weeks = [week(1, 3_000, 190), week(0, 1_136, 89)]
    shown = page(document(), weeks, contact="mailto:reports@example.org")
    assert 'Contact: <a href="mailto:reports@example.org">reports@example.org</a>.' in shown
    assert '<a href="/calendar">Release calendar</a>' in shown
    assert "Contact:" not in page(document(), weeks)
    earlier = page(document(), weeks, contact="mailto:reports@example.org", next="2017-02-04")
    assert "Release calendar" not in earlier
