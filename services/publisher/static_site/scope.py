"""Which addresses a copy of the site has. Pure.

The database gives those of reports and jurisdictions. Any other page or file is found by its route, if that has no
parameter, or by a link from a page.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from services.publisher.static_site.names import file_of

FORMS = ("json", "csv", "html")
_ENUMERATED = re.compile(
    r"/reports/\d{4}-\d\d-\d\d|/v1/reports/\d{4}-\d\d-\d\d(?:/revisions/\d+)?(?:\.\w+)?|/jurisdictions/.*"
    r"|/v1/series\?geoid=.*"
).fullmatch
_LEFT_OUT = re.compile(r"/desk(?:/.*)?|/v1/reports/stream|/v1/series").fullmatch
"""What only a service can do: work of operators, an endless response, a route that requires a parameter."""
_LATEST = ("/reports/latest", *(f"/v1/reports/latest.{form}" for form in FORMS))


@dataclass(frozen=True, slots=True)
class Revision:
    """A published revision, in the order of writing."""

    week: date
    revision: int
    digest: str
    published_at: datetime
    demonstration: bool


class Scope:
    """The addresses of a copy."""

    def __init__(self, revisions: Collection[Revision], geoids: Collection[str], routes: Iterable[str]) -> None:
        """`geoids`: jurisdictions with a row in any revision. `routes`: paths, as the routes of the site have them."""
        self.enumerated = _by_file(_enumerated(revisions, geoids))
        """The address of each file that the database gives."""
        self.starts = [path for path in ("/", *_LATEST, *routes) if "{" not in path and not _LEFT_OUT(path)]
        """Addresses that are requested too. There may be none of them, for example before the first report."""

    def file(self, address: str) -> str | None:
        """The file that the copy may have for an address, or None."""
        file = file_of(address)
        if file is None or _LEFT_OUT(address) or (_ENUMERATED(address) and file not in self.enumerated):
            return None
        return file

    def has_lost(self, addresses: Iterable[str]) -> bool:
        """Whether the database no longer gives one of these addresses: it was restored from a backup."""
        known = set(self.enumerated.values())
        return any(_ENUMERATED(address) and address not in known for address in addresses)


def _by_file(addresses: Iterable[str]) -> dict[str, str]:
    found = {}
    for address in addresses:
        file = file_of(address)
        assert file is not None, "weeks, numbers and codes are valid parts of a path"
        found[file] = address
    return found


def _enumerated(revisions: Collection[Revision], geoids: Collection[str]) -> Iterator[str]:
    """Newest week first. The same revision under several addresses follows itself: it is rendered once."""
    numbers: dict[date, list[int]] = {}
    for one in revisions:
        numbers.setdefault(one.week, []).append(one.revision)
    for week in sorted(numbers, reverse=True):
        newest_first = sorted(numbers[week], reverse=True)
        bases = [f"/v1/reports/{week}", *(f"/v1/reports/{week}/revisions/{number}" for number in newest_first)]
        yield f"/reports/{week}"
        yield from (f"{base}.html" for base in bases)
        yield from (f"{base}.{form}" for form in ("json", "csv") for base in bases)
    for geoid in sorted(geoids):
        yield f"/jurisdictions/{geoid}"
        yield f"/v1/series?geoid={geoid}"
