"""schemas.acceptance: a refused event is impersonal only if it cannot contain personal data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from schemas.acceptance import accept
from tests.unit.sample_events import Document, changed, encoded, event, refusal

DECLINED = event("declined")
NAME = "Jane Doe"

# Each breaks one rule by an absent field, or by a value that has the form of its field.
WELL_FORMED: dict[str, tuple[str, object]] = {
    "missing-field": ("data.version", ...),
    "unexpected-field": ("data.withdrawn_reason", "wrong-person"),
    "unknown-jurisdiction": ("data.jurisdiction", "32999"),
    "operator-misfit": ("data.operator", "state"),
    "order-of-instants": ("data.declined_at", "2016-01-01T00:00:00Z"),
    "subject-mismatch": ("subject", "00000000-0000-4000-8000-000000000000"),
}


def broken(document: Document, code: str) -> Document:
    path, value = WELL_FORMED[code]
    return changed(document, path) if value is ... else changed(document, path, value)


def paths_of(document: Any, path: str = "") -> Iterator[str]:
    """The dotted path of every value, including objects and lists."""
    members = document.items() if isinstance(document, dict) else enumerate(document)
    for name, value in members:
        at = f"{path}.{name}" if path else str(name)
        yield at
        if isinstance(value, dict | list):
            yield from paths_of(value, at)


@pytest.mark.parametrize("code", WELL_FORMED)
def test_values_that_have_the_form_of_their_fields_are_impersonal(code: str) -> None:
    refused = refusal(encoded(broken(DECLINED, code)))
    assert (refused.code, refused.impersonal) == (code, True)


@pytest.mark.parametrize("code", [None, *WELL_FORMED])
@pytest.mark.parametrize("value", [NAME, [NAME], {"name": NAME}])
def test_an_event_with_a_name_is_never_impersonal(code: str | None, value: object) -> None:
    document = DECLINED if code is None else broken(DECLINED, code)
    paths = list(paths_of(document))
    assert "data.offenses.0.category" in paths
    kept = [path for path in paths if refusal(encoded(changed(document, path, value))).impersonal]
    assert kept == []


@pytest.mark.parametrize("value", [None, b"", b"Jane Doe", b'"Jane Doe"', b"\xff", b'{"a":1,"a":"Jane Doe"}'])
def test_an_incomplete_event_is_never_impersonal(value: bytes | None) -> None:
    assert not refusal(value).impersonal


def test_the_unchanged_event_is_valid() -> None:
    assert accept(encoded(DECLINED)).agency
