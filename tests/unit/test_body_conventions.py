"""Conventions of tools: byte order marks, several gzip members, trailing zero bytes. All readers handle them alike."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from schemas.week import ReportingCalendar
from services.importer import acceptance_week, cloudevents
from services.importer.files import InputFile
from services.importer.rows import NotThisFileError, Row
from services.ingest.body.media_types import BATCH, BINARY, LINES, SINGLE
from services.runtime import settings
from services.runtime.agencies import parse
from tests.support.golden import FILE
from tests.support.problems import assert_problem
from tests.support.processes import batch, post
from tests.unit.sample_endpoint import Producer
from tests.unit.sample_events import encoded, event
from tests.unit.test_endpoint_bodies import binary_headers

GOOD = encoded(event())
DATA = json.dumps(event()["data"]).encode()
MARK = b"\xef\xbb\xbf"
GZIP = {"Content-Encoding": "gzip"}
CALENDAR = ReportingCalendar(ZoneInfo("America/New_York"))
MEDIA_TYPES = (SINGLE, BINARY, BATCH, LINES)


def body_of(media_type: str) -> bytes:
    return {SINGLE: GOOD, BINARY: DATA, BATCH: batch([GOOD]), LINES: GOOD + b"\n"}[media_type]


async def sent(client: httpx.AsyncClient, media_type: str, body: bytes, **more: str) -> httpx.Response:
    return await post(client, body, media_type, **more, **(binary_headers() if media_type == BINARY else {}))


def imported(path: Path) -> list[bytes | None]:
    return [row.whole for row in cloudevents.read(InputFile(path), "demo", "set", CALENDAR)]


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
async def test_a_byte_order_mark_is_removed(client: httpx.AsyncClient, producer: Producer, media_type: str) -> None:
    await sent(client, media_type, body_of(media_type))
    await sent(client, media_type, MARK + body_of(media_type))
    await sent(client, media_type, gzip.compress(MARK + body_of(media_type)), **GZIP)
    values = [one.value for one in producer.stored]
    assert len(values) == 3
    assert len(set(values)) == 1, "stored without the mark"


async def test_files_with_marks_may_be_concatenated(
    client: httpx.AsyncClient, producer: Producer, tmp_path: Path
) -> None:
    joined = MARK + GOOD + b"\r\n" + MARK + b"\n" + MARK + GOOD + b"\n" + MARK
    response = await sent(client, LINES, joined)
    *receipts, last = map(json.loads, response.text.splitlines())
    assert [(one["line"], one["status"]) for one in receipts] == [(1, "accepted"), (3, "accepted")]
    assert last["summary"]["lines"] == 2
    assert [one.value for one in producer.stored] == [GOOD, GOOD]
    path = tmp_path / "events.ndjson"
    path.write_bytes(joined)
    assert imported(path) == [GOOD, GOOD]


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
async def test_a_mark_elsewhere_or_twice_is_refused(client: httpx.AsyncClient, media_type: str) -> None:
    response = await sent(client, media_type, MARK + MARK + body_of(media_type))
    if media_type == LINES:
        assert json.loads(response.text.splitlines()[0])["code"] == "not-json"
    else:
        assert_problem(response, 400, "not-a-batch" if media_type == BATCH else "not-json")


@pytest.mark.parametrize("media_type", [SINGLE, BATCH, BINARY])
async def test_a_mark_alone_is_an_empty_body(client: httpx.AsyncClient, media_type: str) -> None:
    assert_problem(await sent(client, media_type, MARK), 400, "empty-body")


def packed(body: bytes, form: str) -> bytes:
    half = len(body) // 2
    members = [gzip.compress(body[:half]), gzip.compress(body[half:])]
    return {
        "several members": b"".join(members),
        "an empty member": members[0] + gzip.compress(b"") + members[1],
        "trailing zeros": b"".join(members) + bytes(20_000),
        "zeros between": bytes(3).join(members),
        "a trailing zero": gzip.compress(body) + b"\0",
    }[form]


FORMS = ("several members", "an empty member", "trailing zeros", "zeros between", "a trailing zero")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("media_type", MEDIA_TYPES)
async def test_several_members_and_trailing_zeros_are_read(
    client: httpx.AsyncClient, producer: Producer, media_type: str, form: str
) -> None:
    response = await sent(client, media_type, packed(body_of(media_type), form), **GZIP)
    assert response.status_code in (200, 202, 207), response.text
    assert len(producer.stored) == 1


@pytest.mark.parametrize("form", FORMS)
def test_an_imported_file_is_read_alike(tmp_path: Path, form: str) -> None:
    path = tmp_path / "events.ndjson.gz"
    path.write_bytes(packed(MARK + GOOD + b"\n", form))
    assert imported(path) == [GOOD]


no_member = pytest.mark.parametrize("rest", [b"x", b"\0x", b"\0\0\x1f", b"\x1f\x8b"])


@no_member
@pytest.mark.parametrize("media_type", MEDIA_TYPES)
async def test_trailing_data_other_than_a_member_is_refused(
    client: httpx.AsyncClient, media_type: str, rest: bytes
) -> None:
    response = await sent(client, media_type, gzip.compress(body_of(media_type)) + rest, **GZIP)
    if media_type == LINES:
        assert json.loads(response.text.splitlines()[-1])["error"]["code"] == "bad-compression"
    else:
        assert_problem(response, 400, "bad-compression")


@no_member
def test_an_imported_file_with_trailing_data_is_damaged(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "events.ndjson.gz"
    path.write_bytes(gzip.compress(GOOD + b"\n") + rest)
    with pytest.raises(NotThisFileError, match="damaged"):
        imported(path)


# Other files that editors write with a mark.


def figures(path: Path) -> list[Row]:
    return list(acceptance_week.read(InputFile(path), "demo", "set", CALENDAR))


def test_a_file_of_figures_may_have_a_mark(tmp_path: Path) -> None:
    path = tmp_path / FILE.name
    path.write_bytes(MARK + FILE.read_bytes())
    assert acceptance_week.header_note(path) == acceptance_week.header_note(FILE)
    assert figures(path) == figures(FILE)
    bare = tmp_path / "bare" / FILE.name
    bare.parent.mkdir()
    bare.write_bytes(
        MARK + b"".join(line for line in FILE.read_bytes().splitlines(keepends=True) if not line.startswith(b"#"))
    )
    assert figures(bare) == figures(FILE)


def test_an_agencies_file_may_have_a_mark() -> None:
    content = (
        b'[[agency]]\nname = "a"\nkey_sha256 = ["' + b"0" * 64 + b'"]\nkinds = ["issued"]\njurisdictions = ["32003"]\n'
    )
    assert parse(MARK + content).listed == parse(content).listed


def test_a_secret_in_a_file_may_have_a_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_bytes(MARK + b"secret\r\n")
    monkeypatch.setenv("DDOR_AGENCY_KEY_FILE", str(file))
    key = settings.load().agency_key
    assert key is not None
    assert key.get_secret_value() == "secret"


# An empty batch


@pytest.mark.parametrize("body", [b"[]", b" [ \n] ", MARK + b"[]"])
async def test_an_empty_batch_is_valid(client: httpx.AsyncClient, producer: Producer, body: bytes) -> None:
    response = await post(client, body, BATCH)
    assert response.status_code == 200
    empty = {"lines": 0, "accepted": 0, "rejected": 0, "unavailable": 0}
    assert response.json() == {"receipts": [], "summary": empty}
    assert producer.stored == []
