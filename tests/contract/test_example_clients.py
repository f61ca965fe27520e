"""The clients of the guide agree with one another, and with the error codes on which errors are temporary."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.ingest.docs.error_codes import ENTRIES, EVENT, STREAM
from tests.support.example_clients import FOLDER

CLIENTS = sorted(FOLDER.iterdir())
_STATUSES = {
    entry.code: {int(status) for status in entry.where.split() if status.isdigit()}
    for entry in ENTRIES
    if entry.where != EVENT
}
_ENDS = {entry.code for entry in ENTRIES if STREAM in entry.where.split()}

each_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda path: path.name)


def _constant(client: Path, name: str) -> str:
    """The value of a constant: the rest of its line, without the comment."""
    found = re.search(rf"^[^/#*\n]*\b{name}\b[^=\n]*=\s*(.*?)\s*(?:(?://|#).*)?$", client.read_text(), re.M | re.I)
    assert found, f"{client.name} has no {name}"
    return found[1]


def test_there_is_a_client_in_each_language() -> None:
    assert [path.name for path in CLIENTS] == ["Client.java", "client.go", "client.mjs", "client.py"]


@each_client
def test_a_client_retries_exactly_the_temporary_statuses(client: Path) -> None:
    named = {int(status) for status in re.findall(r"\b\d{3}\b", _constant(client, "RETRYABLE_?STATUSES"))}
    proxies = {502, 504}  # from a proxy
    permanent = {501, 505}  # the request is not HTTP/1.1
    returned = {status for statuses in _STATUSES.values() for status in statuses} - permanent
    assert named == {status for status in returned if status >= 500 or status in (408, 429)} | proxies


@each_client
def test_a_client_retries_exactly_the_temporary_stream_errors(client: Path) -> None:
    named = set(re.findall(r'"([a-z-]+)"', _constant(client, "RETRYABLE_?ERRORS")))
    assert named == {code for code in _ENDS if _STATUSES[code] <= {408, 429}}
