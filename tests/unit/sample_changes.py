"""Valid events of every shape, and changes to their JSON, instants and bytes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.unit.sample_events import Document, event

# Valid events of every shape.
OFFENSES = [
    {"category": code, "basis": basis}
    for code in ("90D", "13A", "09A", "520", "11A", "35A", "23H", "90Z")
    for basis in ("charged", "convicted")
]
PLACES = [
    ("32003", "county"), ("36059", "city"), ("32", "state"), ("US", "federal"), ("2430", "tribal"), ("46113", "county"),
    ("09001", "county"), ("09110", "city"), ("72001", "county"),
]  # fmt: skip
DAYS = ["1900-01-01", "1999-12-31", "2000-02-29", "2016-02-29", "2017-01-28", "2017-03-12", "2199-12-31"]
CLOCKS = ["00:00:00", "05:00:00", "09:15:00", "23:59:59"]
FRACTIONS = ["", *("." + "123456789"[:n] for n in range(1, 10)), ".000", ".9999999", ".000000999"]
ZONES = ["Z", "+00:00", "-00:00", "-05:00", "-04:00", "+05:30", "+14:00", "-12:00", "+23:59", "-23:59"]
IDS = ["e/1", "3f0c1d2e-6a7b-4c8d-9e0f-1a2b3c4d5e6f", "import-2017012812/4", "2017-01-28/1", "a" * 128, "=+._:/-"]
SOURCES = ["/agencies/ice-las-vegas", "/agencies/a", "/agencies/" + "a" * 63, "/agencies/2017"]
DETAINERS = [
    "3f0c1d2e-6a7b-4c8d-9e0f-1a2b3c4d5e6f",
    "12345678-1234-4234-8234-123456789012",
    "0" * 8 + "-0000" * 3 + "-" + "f" * 12,
]


def instants() -> st.SearchStrategy[str]:
    parts = (st.sampled_from(part) for part in (DAYS, CLOCKS, FRACTIONS, ZONES))
    return st.tuples(*parts).map(lambda p: f"{p[0]}T{p[1]}{p[2]}{p[3]}")


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.just(...) | values


OPTIONAL = {
    "location": maybe(st.sampled_from(["32003", "36059", "72001"])),
    "facility": maybe(st.sampled_from(["CCDC", "NCC-C", "1234567", "AB12345678", "0" * 16, "--"])),
    "form": maybe(st.sampled_from(["I-247", "I-247A", "I-247D", "I-247N", "I-247X"])),
    "citizenship": maybe(st.sampled_from(["MEX", "GTM", "USA", "YUG"])),
    "withdrawn": maybe(st.just(False)),
    "offenses": maybe(st.lists(st.sampled_from(OFFENSES), max_size=32)),
}


ATTRIBUTES = {
    "traceparent": maybe(st.sampled_from(["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None])),
    "tracestate": maybe(st.sampled_from(["rojo=00f067aa0ba902b7", "a=1,b@c=2;3", None])),
    "datacontenttype": maybe(st.sampled_from(["application/json", "application/json; charset=utf-8", None])),
    "partitionkey": maybe(st.none()),
}


@st.composite
def valid(draw: st.DrawFn) -> Document:
    """A valid event of any shape. The instants of a decline are in order."""
    kind = draw(st.sampled_from(["issued", "declined"]))
    jurisdiction, operator = draw(st.sampled_from(PLACES))
    data: dict[str, Any] = {
        "detainer_id": draw(st.sampled_from(DETAINERS)),
        "version": draw(st.sampled_from([1, 2, 1_485_579_600_000, 2**53 - 1])),
        "jurisdiction": jurisdiction,
        "operator": operator,
        "issued_at": draw(instants()),
    }
    if kind == "declined":
        data["recorded_at"] = data["declined_at"] = data["issued_at"]
        data["issued_at"] = "1900-01-02T00:00:00Z" if draw(st.booleans()) else data["issued_at"]
        data["reason"] = draw(maybe(st.sampled_from(["policy", "capacity", "not-stated"])))
    data |= {name: draw(values) for name, values in OPTIONAL.items()}
    document = event(kind) | {
        "id": draw(st.sampled_from(IDS)),
        "source": draw(st.sampled_from(SOURCES)),
        "time": draw(instants()),
        "subject": data["detainer_id"],
        "data": {name: value for name, value in data.items() if value is not ...},
    }
    document |= {name: draw(values) for name, values in ATTRIBUTES.items()}
    return shuffled(
        {name: value for name, value in document.items() if value is not ...}, draw(st.randoms(use_true_random=False))
    )


def shuffled(document: Document, rng: random.Random) -> Document:
    """The same event with its members, and those of its data, reordered."""
    data = list(document["data"].items())
    rng.shuffle(data)
    members = list((document | {"data": dict(data)}).items())
    rng.shuffle(members)
    return dict(members)


layouts = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n ")])


def laid_out(document: Document, separators: tuple[str, str]) -> bytes:
    return json.dumps(document, separators=separators).encode()


# Instants: the fast path uses lookup tables, so their bounds are tested one by one.
DATES = [*DAYS, "2017-02-29", "2100-02-29", "2000-02-30", "1899-12-31", "2200-01-01", "0000-01-01", "0001-01-01",
         "1500-06-01", "1600-01-01", "1739-12-31", "9999-12-31", "2017-13-01", "2017-00-10", "2017-1-1", "20170130",
         "2017-W05-1", "2017-030"]  # fmt: skip
TIMES = [*CLOCKS, "24:00:00", "23:60:00", "23:59:60", "00:00:99", "99:99:99", "9:15:00", "09:15", "09", "", "091500",
         "09:15:00,5"]  # fmt: skip
TAILS = [*ZONES, "", "z", "+24:00", "-99:99", "+05:60", "+5:00", "+0500", "+05", "-05:00:00", ".Z", ".", ".5",
         ".5z", ".1234567891Z", ".12a456Z", ".5+05", ".5+05:30", ".-5Z", ".5 Z", "ZZ", "+05:00Z", " Z", "[UTC]",
         "Z\\n"]  # fmt: skip


# Changes of the JSON: members duplicated, removed, renamed, or with other values.
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 1.0, 2.5, 1e3, 1e300, 2**53, 2**64, 10**400, -(10**30), "", " ", "x", "é",
    "\u2028", "\x00", "A12345678", "12345678", "123456789", "1234567890", "A123-456-789", "see A12345678", [], {},
    [None], {"a": 1}, [[]], "Z", "US", "32003", "1" * 200, [{"category": "90D", "basis": "charged"}] * 33,
    [{"category": "90D"}], [{}], "I-247D", "charged",
]  # fmt: skip
NAMES = [
    "x",
    "redriveof",
    "traceparent",
    "tracestate",
    "datacontenttype",
    "withdrawn_reason",
    "reason",
    "declined_at",
    "data_base64",
    "",
    "é",
    "A12345678",
    "Data",
]


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of each member and element."""
    members: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield (*path, name)
        yield from paths_of(member, (*path, name))


class Twice(dict[str, Any]):
    """An object that duplicates some members in `json.dumps`, which reads only its items."""

    def __init__(self, members: dict[str, Any], again: list[tuple[str, Any]]) -> None:
        super().__init__(members or {"": 0})
        self._pairs = [*members.items(), *again]

    def items(self) -> Any:
        return self._pairs


def altered(document: Document, rng: random.Random) -> tuple[Document, bool]:
    """One change at one path, and whether another may follow. Duplicated members are not changed again."""
    path = rng.choice(list(paths_of(document)))
    *parents, last = path
    holder: Any = document
    for name in parents:
        holder = holder[name]
    value = copy.deepcopy(rng.choice([*ODD, holder[last]]))
    way = rng.choice(["replace", "remove", "rename", "add", "twice"])
    if way == "replace" or isinstance(holder, list):
        holder[last] = value
    elif way == "remove":
        del holder[last]
    elif way == "rename":
        holder[rng.choice(NAMES)] = holder.pop(last)
    elif way == "add":
        holder[rng.choice(NAMES)] = value
    elif parents:
        outer: Any = document
        for name in parents[:-1]:
            outer = outer[name]
        again = [(last, rng.choice([value, holder[last]]))]
        outer[parents[-1]] = Twice(holder, [(str(name), one) for name, one in again])
    else:
        document = Twice(document, [(str(last), value)])
    return document, way != "twice" or isinstance(holder, list)


# Changes of the bytes.
PIECES = [
    b'"', b"\\", b"\\u0041", b"\\/", b"\\ud800", b"\x00", b"\n", b"\x7f", b"\xff", "é".encode(), b"\xef\xbb\xbf", b",",
    b":", b"{", b"}", b"[", b"]", b" ", b"0", b"1", b"9" * 20, b"9" * 5_000, b"-", b".", b"e5", b"NaN", b"Infinity",
    b"-Infinity", b"null", b"true", b"//", b"/**/", b"'", b'"version":1,', b'"x":1,', b'"":"",', b"\xed\xa0\x80",
]  # fmt: skip
