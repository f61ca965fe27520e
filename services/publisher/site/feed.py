"""The Atom feed of revisions (RFC 4287): an entry for each revision, newest first. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

from schemas.announcement import REPORT_NAMESPACE, links, report_id

MEDIA_TYPE = "application/atom+xml; charset=utf-8"
PATH = "/feed.atom"
ENTRIES = 100
"""The number of revisions in the feed. Older ones are in the list of all weeks."""

_ATOM = "http://www.w3.org/2005/Atom"
_TITLE = "Weekly detainer report"
_NO_REPORT_YET = datetime(1970, 1, 1, tzinfo=UTC)
_CAUSES = {"initial": "first report", "scheduled": "scheduled revision", "correction": "correction"}


def atom(revisions: Sequence[Mapping[str, Any]]) -> bytes:
    """The feed. Each revision has week, revision, cause, digest, published_at, issued, declined and demonstration.

    Links are relative to the feed's address. The id of an entry is that of the event on `report-ready`.
    """
    feed = ET.Element("feed", {"xmlns": _ATOM})
    _text(feed, "id", uuid.uuid5(REPORT_NAMESPACE, "feed").urn)
    _text(feed, "title", _TITLE)
    _text(feed, "updated", _time(max((one["published_at"] for one in revisions), default=_NO_REPORT_YET)))
    _text(ET.SubElement(feed, "author"), "name", _TITLE)
    ET.SubElement(feed, "link", {"rel": "self", "type": "application/atom+xml", "href": PATH})
    ET.SubElement(feed, "link", {"rel": "alternate", "type": "text/html", "href": "/"})
    for revision in revisions:
        _entry(feed, revision)
    content: bytes = ET.tostring(feed, encoding="utf-8", xml_declaration=True)
    return content


def _entry(feed: ET.Element, one: Mapping[str, Any]) -> None:
    entry = ET.SubElement(feed, "entry")
    _text(entry, "id", f"urn:uuid:{report_id(one['week'], one['revision'])}")
    _text(entry, "title", f"Week of {one['week']}, revision {one['revision']}: {_CAUSES[one['cause']]}")
    _text(entry, "published", _time(one["published_at"]))
    _text(entry, "updated", _time(one["published_at"]))
    address = links(one["week"], one["revision"])
    ET.SubElement(entry, "link", {"rel": "alternate", "type": "text/html", "href": address["html"]})
    ET.SubElement(entry, "link", {"rel": "enclosure", "type": "application/json", "href": address["json"]})
    ET.SubElement(entry, "link", {"rel": "enclosure", "type": "text/csv", "href": address["csv"]})
    ET.SubElement(entry, "category", {"term": one["cause"], "label": _CAUSES[one["cause"]]})
    numbers = f"Issued {one['issued']:,}, declined {one['declined']:,}."
    note = " Demonstration data." if one["demonstration"] else ""
    _text(entry, "summary", f"{numbers}{note} Digest {one['digest']}.")


def _text(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _time(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
