"""Sample events: the two examples in schemas/golden, complete or with a changed member."""

from __future__ import annotations

import copy
import json
from typing import Any

from schemas.acceptance import Refused, accept
from schemas.export import GOLDEN
from schemas.fact import Fact

Document = dict[str, Any]
_ABSENT = object()


def _example(kind: str) -> Document:
    document: Document = json.loads((GOLDEN / f"detainer-{kind}.example.json").read_text())
    return document


_EXAMPLES = {kind: _example(kind) for kind in ("issued", "declined")}


def event(kind: str = "issued", **data: object) -> Document:
    """The example of `kind` with members of its data replaced; `...` removes one."""
    document = copy.deepcopy(_EXAMPLES[kind])
    for name, value in data.items():
        document["data"][name] = value
        if value is ...:
            del document["data"][name]
    document["subject"] = document["data"].get("detainer_id", document["subject"])
    return document


def changed(document: Document, path: str, value: object = _ABSENT) -> Document:
    """A copy with the member at a dotted path replaced, or removed when no value is given."""
    result = copy.deepcopy(document)
    *parents, last = path.split(".")
    parent: Any = result
    for name in parents:
        parent = parent[int(name)] if isinstance(parent, list) else parent[name]
    key = int(last) if isinstance(parent, list) else last
    if value is _ABSENT:
        del parent[key]
    else:
        parent[key] = value
    return result


def encoded(document: object) -> bytes:
    """The event as JSON bytes."""
    return json.dumps(document).encode()


def fact(kind: str = "issued", **data: object) -> Fact:
    """The fact of the example with these data."""
    return accept(encoded(event(kind, **data)))


def refusal(value: bytes | None, topic: str | None = None) -> Refused:
    """The refusal of these bytes. Raises AssertionError if they are accepted."""
    try:
        accept(value, topic)
    except Refused as refused:
        return refused
    raise AssertionError("accepted")
