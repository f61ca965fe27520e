"""The committed schemas, and events to validate against them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import deploy
from schemas import export
from schemas.week import ReportingCalendar
from services.importer import acceptance_week
from services.importer.files import InputFile
from services.importer.sending import Envelopes
from tests.support.model import ZONE

Document = dict[str, Any]
FILE = Path(deploy.__path__[0]) / "demo" / "2017-01-28.csv"


@cache
def golden(name: str) -> Draft202012Validator:
    """The committed schema of this name."""
    return Draft202012Validator(json.loads((export.GOLDEN / f"{name}.schema.json").read_text(encoding="utf-8")))


def example(name: str) -> Document:
    """The committed example of this name."""
    document: Document = json.loads((export.GOLDEN / f"{name}.example.json").read_text(encoding="utf-8"))
    return document


def first_week() -> Iterator[Document]:
    """The events that the importer creates from the first report's week."""
    envelopes = Envelopes("demo", "first-week")
    for row in acceptance_week.read(InputFile(FILE), "demo", "first-week", ReportingCalendar(ZONE)):
        for event in row.events:
            yield envelopes.document(row.number, event)


# Mostly valid values in several notations, and some invalid ones.
INSTANTS = st.sampled_from(
    [
        "2017-01-30T12:00:00Z",
        "2017-01-30t12:00:00z",
        "2017-01-30T12:00:00.000000001+00:00",
        "2017-01-30T23:59:59-14:00",
        "1900-01-01T00:00:00Z",
        "2199-12-31T23:59:59.999999999Z",
        "2017-01-30T12:00:00",
        "2017-01-30T24:00:00Z",
    ]
)
UUIDS = st.uuids().map(str) | st.uuids().map(lambda one: str(one).upper())
OFFENSES = st.lists(
    st.fixed_dictionaries(
        {"category": st.sampled_from(["90D", "09A", "13A", "x"]), "basis": st.sampled_from(["charged", "convicted"])}
    ),
    max_size=33,
)
DATA: dict[str, st.SearchStrategy[object]] = {
    "version": st.integers(-1, 2**53) | st.sampled_from([1.0, 1e3, 1.5, 1e300, True, "1", 2**53 - 1]),
    "withdrawn": st.booleans() | st.none(),
    "withdrawn_reason": st.sampled_from([None, "wrong-person", "x"]),
    "jurisdiction": st.sampled_from(["32003", "46113", "09110", "US", "32", "2430", "99999"]),
    "operator": st.sampled_from(["county", "city", "state", "federal", "tribal", "x"]),
    "location": st.sampled_from([None, "32003", "32"]),
    "facility": st.sampled_from([None, "AB", "A-Z0-9-ABCDEFGHI", "x"]),
    "issued_at": INSTANTS,
    "declined_at": INSTANTS,
    "recorded_at": INSTANTS,
    "form": st.sampled_from([None, "I-247", "I-247X", "x"]),
    "reason": st.sampled_from([None, "not-stated", "x"]),
    "citizenship": st.sampled_from([None, "MEX", "SUN", "x"]),
    "offenses": st.none() | OFFENSES,
    "name": st.just("Doe"),
}
ENVELOPE: dict[str, st.SearchStrategy[object]] = {
    "id": st.text("abcXYZ019._:/=+-", min_size=1, max_size=128) | st.text(max_size=5),
    "source": st.sampled_from(["/agencies/a", "/agencies/" + "a" * 63, "/agencies/-"]),
    "time": INSTANTS,
    "dataschema": st.sampled_from(["https://example.org/a?b=(c)#d%20e", "a b"]),
    "redriveof": st.sampled_from([None, "detainer-issued/11/9223372036854775807", "x"]),
    "specversion": st.sampled_from(["1.0", "1"]),
    "datacontenttype": st.sampled_from([None, "application/json", "Application/JSON; charset=utf-8", "text/json"]),
    "traceparent": st.sampled_from([None, f"00-{'0af7' * 8}-{'b7ad' * 4}-01", f"00-{'0' * 32}-{'b7ad' * 4}-01", "x"]),
    "tracestate": st.sampled_from([None, "a=1, b@c=2", "a"]),
    "extension": st.sampled_from([None, "x"]),
}


@st.composite
def mutated(draw: st.DrawFn) -> Document:
    """An example with a few members replaced, added or removed. Its subject matches its detainer."""
    document = copy.deepcopy(example(draw(st.sampled_from(["detainer-issued", "detainer-declined"]))))
    for members, values in ((document["data"], DATA), (document, ENVELOPE)):
        for name in draw(st.lists(st.sampled_from(sorted(values)), max_size=3, unique=True)):
            if name in members and draw(st.integers(0, 5)) == 0:
                del members[name]
            elif name in members or draw(st.booleans()):
                members[name] = draw(values[name])
    if draw(st.booleans()):
        document["subject"] = document["data"]["detainer_id"] = draw(UUIDS)
    return document
