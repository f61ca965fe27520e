"""The data of an earlier release as files: its tables as COPY text, and its topics as lines of JSON."""

from __future__ import annotations

import base64
import io
import json
import lzma
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition

from schemas.topics import EVENT_TOPICS, TOPICS
from tests.support import kafka_log
from tests.support.positions import Connection

DATA: Final = Path(__file__).with_name("data")
_TABLES = (
    "SELECT c.relname AS name, (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute"
    " WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '') AS columns"
    " FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'ddor'::regnamespace AND relname <> 'migration'"
    " ORDER BY c.oid"
)
"""In the order of creation, so that a table follows those that it references."""
_SEQUENCES = (
    "SELECT c.relname AS name, a.attname AS column FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
    " WHERE relnamespace = 'ddor'::regnamespace AND a.attidentity <> ''"
)


class Record(NamedTuple):
    """A record of a topic, with its place."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def tables_file(schema: int) -> Path:
    """The tables that the release with this schema wrote."""
    return DATA / f"schema-{schema}.sql.xz"


def log_file(schema: int) -> Path:
    """The topics that the release with this schema wrote."""
    return DATA / f"schema-{schema}.ndjson.xz"


async def tables(connection: Connection) -> bytes:
    """All tables of schema `ddor` as pg_dump writes them, without generated columns; compressed."""
    text = io.BytesIO()
    for table in await connection.fetch(_TABLES):
        text.write(f"COPY {table['name']} ({', '.join(table['columns'])}) FROM stdin;\n".encode())
        await connection.copy_from_table(table["name"], columns=table["columns"], output=text, schema_name="ddor")
        text.write(b"\\.\n")
    return lzma.compress(text.getvalue())


async def load_tables(connection: Connection, content: bytes) -> None:
    """Load what `tables` returned into empty tables of the same schema."""
    for head, rows in _sections(lzma.decompress(content).splitlines(keepends=True)):
        name, _, columns = head.removeprefix("COPY ").removesuffix(") FROM stdin;").partition(" (")
        await connection.copy_to_table(name, source=io.BytesIO(rows), columns=columns.split(", "), schema_name="ddor")
    for row in await connection.fetch(_SEQUENCES):
        await connection.execute(
            f"SELECT setval(pg_get_serial_sequence('ddor.{row['name']}', '{row['column']}'),"
            f" COALESCE(max({row['column']}), 1)) FROM ddor.{row['name']}"
        )


def _sections(lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    head, rows = "", b""
    for line in lines:
        if not head:
            head = line.decode().rstrip()
        elif line == b"\\.\n":
            yield head, rows
            head, rows = "", b""
        else:
            rows += line


async def log(bootstrap: str) -> bytes:
    """The committed records of all topics, compressed."""
    records: list[Record] = []
    for topic in TOPICS:
        for number in range(topic.partitions):
            records += [
                Record(topic.name, number, one.offset, one.timestamp, one.key, one.value, [*one.headers])
                for one in await kafka_log.read(bootstrap, topic.name, number)
            ]
    return lzma.compress("".join(json.dumps(_as_json(one)) + "\n" for one in records).encode())


async def load_log(bootstrap: str, content: bytes) -> None:
    """Write what `log` returned to empty topics, each record at its old offset."""
    records = [_of_json(json.loads(line)) for line in lzma.decompress(content).splitlines()]
    of_events = {topic.name for topic in EVENT_TOPICS}
    async with kafka_log.producer(bootstrap) as plain:
        for one in records:
            if one.topic in of_events:
                await _write(plain, one)
    async with kafka_log.producer(bootstrap, transactional_id="former") as relay:
        for _, some in groupby((one for one in records if one.topic not in of_events), lambda one: one.topic):
            for together in _transactions([*some]):
                async with relay.transaction():
                    for one in together:
                        await _write(relay, one)


def _transactions(records: list[Record]) -> Iterator[list[Record]]:
    """Records with consecutive offsets were written in one transaction, whose end takes an offset, too."""
    together: list[Record] = []
    for one in records:
        if together and one.offset != together[-1].offset + 1:
            yield together
            together = []
        together.append(one)
    if together:
        yield together


async def _write(producer: AIOKafkaProducer, one: Record) -> None:
    written = await producer.send_and_wait(
        one.topic, one.value, one.key, one.partition, timestamp_ms=one.timestamp_ms, headers=one.headers
    )
    assert written.offset == one.offset, f"{TopicPartition(one.topic, one.partition)}: {written.offset}, not {one}"


def _as_json(one: Record) -> list[Any]:
    headers = [[name, _text(value)] for name, value in one.headers]
    return [*one[:4], _text(one.key), _text(one.value), headers]


def _of_json(fields: list[Any]) -> Record:
    topic, partition, offset, timestamp_ms, key, value, headers = fields
    decoded = [(name, _bytes(content) or b"") for name, content in headers]
    return Record(topic, partition, offset, timestamp_ms, _bytes(key), _bytes(value), decoded)


def _text(value: bytes | None) -> Any:
    """Text if the bytes are UTF-8, else base64 in a list."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return [base64.b64encode(value).decode()]


def _bytes(value: Any) -> bytes | None:
    if isinstance(value, list):
        return base64.b64decode(value[0])
    return None if value is None else value.encode()
