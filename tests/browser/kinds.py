"""The kinds of pages of the site. Tests of all pages run for each: a new kind needs one line here."""

from __future__ import annotations

from dataclasses import dataclass

from tests.browser.year import Year

_NEVER_REPORTED = "01001"


@dataclass(frozen=True)
class Kind:
    """One page of a kind. `path` may contain the weeks {newest} and {restated}."""

    name: str
    path: str
    status: int = 200

    def path_in(self, year: Year) -> str:
        """The path of the page in this year."""
        return self.path.format(newest=year.newest, restated=year.restated)


KINDS = (
    Kind("front", "/"),
    Kind("list", "/reports"),
    Kind("week", "/reports/{newest}"),
    Kind("restated", "/reports/{restated}"),
    Kind("superseded", "/v1/reports/{restated}/revisions/1.html"),
    Kind("jurisdiction", "/jurisdictions/32003"),
    Kind("unknown-numbers", "/jurisdictions/36059"),
    Kind("never-reported", f"/jurisdictions/{_NEVER_REPORTED}"),
    Kind("states", "/states"),
    Kind("state", "/states/NV"),
    Kind("state-unknown", "/states/NY"),
    Kind("state-empty", "/states/VT"),
    Kind("calendar", "/calendar"),
    Kind("method", "/method"),
    Kind("codes", "/codes"),
    Kind("not-found", "/reports/2009-01-03", status=404),
)
