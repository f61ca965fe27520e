"""The clients in docs/examples/clients, unchanged, with the real services.

Four clients send at once through an outage of Kafka and a kill of ingest, and each event is counted once. Then the
reaction of each client to refusals.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import subprocess
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.local.parts import KafkaPart, PostgresPart
from deploy.local.service import Service
from deploy.local.stack import Stack
from tests.support import events, kafka_log
from tests.support.example_clients import LANGUAGES, Running, command, missing, running
from tests.support.local_parts import new_database
from tests.support.positions import Connection, accounts
from tests.support.stacks import looking, stack
from tests.system.outage import DETAINERS, JURISDICTIONS, THERE, Outage, counters, data_of, line_of, lines_of

pytestmark = pytest.mark.real_kafka("is not used where Kafka is killed")

each_language = pytest.mark.parametrize(
    "language",
    [
        pytest.param(name, marks=pytest.mark.skipif(missing(name), reason=f"{LANGUAGES[name]} is not on PATH"))
        for name in LANGUAGES
    ],
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, own_kafka: KafkaPart, postgres: PostgresPart) -> Iterator[Stack]:
    """The ready services for all tests of this module."""
    directory = tmp_path_factory.mktemp("stack")
    with new_database(postgres) as dsn, stack(directory, own_kafka, dsn, first_week="2030-01-05") as up:
        yield up


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the compiled clients."""
    return tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="module")
async def connection(system: Stack) -> AsyncIterator[Connection]:
    async with looking(system.postgres.dsn) as one:
        yield one


def _variables(system: Stack, ingest: Service | None = None, key: str | None = None) -> dict[str, str]:
    url = (ingest or system.services["ingest"]).url
    return {"DDOR_INGEST_URL": url, "DDOR_AGENCY_KEY": key or system.variables()["DDOR_AGENCY_KEY"]}


async def _commands(tools: Path) -> dict[str, Sequence[str]]:
    made = await asyncio.gather(*(asyncio.to_thread(command, language, tools) for language in THERE))
    return dict(zip(THERE, made, strict=True))


@pytest.fixture(scope="module")
async def through_the_outage(
    system: Stack, own_kafka: KafkaPart, connection: Connection, tools: Path
) -> dict[str, tuple[int, Running]]:
    """Run all clients while Kafka and ingest are killed. Returns the result of each. All sent events are counted."""
    argv = await _commands(tools)
    async with AsyncExitStack() as started:
        clients = {
            language: await started.enter_async_context(running(argv[language], _variables(system)))
            for language in THERE
        }
        outage = Outage(system, own_kafka, connection)
        async with asyncio.TaskGroup() as group:
            group.create_task(outage.run(list(clients.values())))
            codes = {
                language: group.create_task(outage.feed(client, lines_of(language)))
                for language, client in clients.items()
            }
    await kafka_log.counted(connection, own_kafka.bootstrap)
    return {language: (codes[language].result(), clients[language]) for language in THERE}


@each_language
async def test_everything_that_a_client_sent_through_an_outage_is_counted_once(
    language: str, through_the_outage: dict[str, tuple[int, Running]], connection: Connection
) -> None:
    code, client = through_the_outage[language]
    sent = len(lines_of(language))
    assert (code, client.out) == (0, [f"accepted {sent}, rejected 0"]), client.err
    counted = await counters(connection)
    assert (counted[language, "issued"], counted[language, "declined"]) == (DETAINERS, sent - DETAINERS)
    rows = await connection.fetch(
        "SELECT kind::text, detainer_id FROM ledger_entry WHERE jurisdiction = $1", JURISDICTIONS[language]
    )
    sent_events = map(json.loads, lines_of(language))
    expected = [(one["type"].removeprefix("detainer-"), uuid.UUID(one["subject"])) for one in sent_events]
    assert Counter((row["kind"], row["detainer_id"]) for row in rows) == Counter(expected)


@each_language
def test_a_client_resends_unavailable_events_after_the_requested_delay(
    language: str, through_the_outage: dict[str, tuple[int, Running]]
) -> None:
    _, client = through_the_outage[language]
    assert [line for line in client.err if "events are not known to be stored" in line], client.err
    waits = [re.fullmatch(r"again in ([\d.]+) s: (.+)", line) for line in client.err]
    assert None not in waits, client.err
    delays = [float(wait[1]) for wait in waits if wait and wait[2].startswith("503 kafka-unavailable: ")]
    assert min(delays) >= 5, "Retry-After"


async def test_a_resent_event_is_a_duplicate_and_none_is_rejected(
    through_the_outage: dict[str, tuple[int, Running]], connection: Connection
) -> None:
    for account in (await accounts(connection)).values():
        assert account["records"] == account["facts"] + account["duplicates"]
    assert await connection.fetchval("SELECT count(*) FROM history") == 0


@each_language
def test_a_wrong_key_stops_the_client(language: str, system: Stack, tools: Path) -> None:
    done = _run(command(language, tools), lines_of(language)[:3], _variables(system, key="nobody's"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("stopped: 401 unknown-key: "), done.stderr
    assert "nobody's" not in done.stderr


@each_language
def test_a_wrong_address_stops_the_client(language: str, system: Stack, tools: Path) -> None:
    elsewhere = {"DDOR_INGEST_URL": system.services["ingest"].url + "/elsewhere/"}
    done = _run(command(language, tools), lines_of(language)[:3], _variables(system) | elsewhere)
    assert done.returncode == 2
    assert done.stderr.startswith("stopped: 404 "), done.stderr


@each_language
def test_a_rejected_line_is_named_and_the_others_are_accepted(
    language: str, system: Stack, tools: Path, tmp_path: Path
) -> None:
    lines = lines_of(language)[:10]
    data = events.issued(**data_of(language, DETAINERS), issued_at="2017-01-30T12:00:00")
    lines[4] = line_of("issued", data, "bad/5")
    lines[7] = b" \t\r\n" + lines[7]  # a blank line has no receipt, but a number
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"".join(lines).rstrip(b"\n"))  # the last line needs no line break
    done = _run([*command(language, tools), str(file)], [], _variables(system))
    assert (done.returncode, done.stderr) == (1, "")
    named, summed = done.stdout.splitlines()
    assert named == "line 5: naive-timestamp: data.issued_at: must carry an offset, such as Z or -05:00"
    assert summed == "accepted 9, rejected 1"


@each_language
def test_bytes_that_are_not_utf_8_are_sent_unchanged_and_rejected_by_line(
    language: str, system: Stack, tools: Path
) -> None:
    first, other, last = lines_of(language)[:3]
    lines = [first, other.replace(b"county", b"\xff\xfe"), b"\xef\xbf\xbd\n", last]
    done = _run(command(language, tools), lines, _variables(system))
    assert done.returncode == 1
    *rejected, summed = done.stdout.splitlines()
    second, third = sorted(rejected)  # of two concurrent requests, either may get its response first
    assert second.startswith("line 2: not-utf8: ")
    assert third.startswith("line 3: not-json: ")
    assert summed == "accepted 2, rejected 2"


@each_language
def test_a_missing_file_or_variable_stops_the_client(language: str, system: Stack, tools: Path, tmp_path: Path) -> None:
    argv = command(language, tools)
    for arguments, variables in (([tmp_path / "none"], _variables(system)), ([], {"DDOR_AGENCY_KEY": "key"})):
        done = _run([*argv, *map(str, arguments)], [], variables)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("stopped: "), done.stderr


async def test_a_client_waits_for_ingest_reads_while_it_sends_and_stops_when_its_key_is_revoked(
    system: Stack, tools: Path, tmp_path: Path
) -> None:
    original, own = system.state.agencies_file.read_text(), tmp_path / "agencies.toml"
    own.write_text(original)
    late = system.another("ingest", "late", settings={"DDOR_AGENCIES_FILE": str(own)})
    argv = await _commands(tools)
    async with AsyncExitStack() as started:
        clients = {
            language: await started.enter_async_context(running(argv[language], _variables(system, late)))
            for language in THERE
        }
        for one in clients.values():
            await one.feed([b"{}\n"])
        sending = [one.feed_without_end(lines_of(language)) for language, one in clients.items()]
        sent = asyncio.gather(*sending)
        await asyncio.gather(*(one.prints("again in ", times=2) for one in clients.values()))
        await asyncio.to_thread(late.start)
        await asyncio.gather(*(one.prints("line 1: missing-field: ") for one in clients.values()))
        own.write_text(re.sub("[0-9a-f]{64}", hashlib.sha256(b"another key").hexdigest(), original))
        codes = await asyncio.wait_for(asyncio.gather(*(one.process.wait() for one in clients.values())), 90)
        await sent
    for code, client in zip(codes, clients.values(), strict=True):
        assert (code, len(client.out)) == (2, 1), client.out
        assert client.err[-1].startswith("stopped: ")
        assert "unknown-key: " in client.err[-1]


async def test_a_summary_without_the_sent_events_is_not_a_success(tools: Path) -> None:
    """The response of a server that misreads the body, as some do after `Upgrade: h2c`."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        summary = b'{"summary":{"lines":0,"accepted":0,"rejected":0,"unavailable":0}}\n'
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 207 Multi-Status\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(summary)
        writer.write(head + summary)
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass
        writer.close()

    argv = await _commands(tools)
    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as server, AsyncExitStack() as started:
        port = server.sockets[0].getsockname()[1]
        variables = {"DDOR_INGEST_URL": f"http://127.0.0.1:{port}", "DDOR_AGENCY_KEY": "key"}
        for language in THERE:
            client = await started.enter_async_context(running(argv[language], variables))
            await client.feed(lines_of(language)[:3])
            await client.prints("events are not known to be stored", times=2)
            assert client.out == []


def _run(argv: Sequence[str], lines: Sequence[bytes], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        argv, input=b"".join(lines), env=os.environ | {"NO_PROXY": "*"} | variables,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
