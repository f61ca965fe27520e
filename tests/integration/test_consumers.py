"""The consumers in docs/consumers.md, unchanged, on a topic with duplicates, aborted and foreign records."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from deploy.local import kafka_jars
from deploy.local.parts import KafkaPart
from schemas.announcement import announcement, report_id
from schemas.report import Report
from schemas.topics import CONTENT_TYPE, REPORT_READY
from tests.support import examples
from tests.support.console_consumer import console_consumer
from tests.support.processes import accept_interrupts
from tests.unit.sample_reports import report, snapshot

_PAGE = (examples.FOLDER.parent / "consumers.md").read_text(encoding="utf-8")
_SECONDS = 90

without_java = pytest.mark.skipif(
    bool(kafka_jars.missing()) or shutil.which("javac") is None, reason="a Java 17 with its compiler is not on PATH"
)


def _program(language: str, containing: str) -> str:
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
    [found] = [block for block in blocks if containing in block]
    return found


Message = tuple[bytes | None, list[tuple[str, bytes]]]
_STRANGERS = (None, b"", b"hello", b"\xff", b"[]", b"{}", b'{"type":"report-ready","data":{}}')
"""Values of records that are not the publisher's: anybody may have written them who may write to the topic."""


def _message(document: Report) -> Message:
    identity = report_id(document.week_start, document.revision)
    value = announcement(document.document(), "2017-02-05T05:00:00Z")
    return value, [("content-type", CONTENT_TYPE.encode()), ("id", identity.encode())]


def _line(document: Report) -> str:
    totals = document.totals
    return f"2017-01-28 revision {document.revision}: issued {totals.issued}, declined {totals.declined}"


@dataclass(slots=True)
class Topic:
    """`report-ready`: its committed records, and the lines that a consumer must print."""

    bootstrap: str
    producer: AIOKafkaProducer
    values: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    last: Report | None = None

    async def correct(self) -> str:
        """Publish a further revision of the week. Returns the line that a consumer prints for it."""
        number = self.last.revision + 1 if self.last else 1
        previous = self.last.digest if self.last else None
        self.last = report(snapshot({"32003": 118 - number}, {"32003": 51}), revision=number, previous=previous)
        await self.send([_message(self.last)])
        self.lines.append(_line(self.last))
        return self.lines[-1]

    async def send(self, messages: Sequence[Message], *, commit: bool = True) -> None:
        """Write records in one transaction."""
        await self.producer.begin_transaction()
        for value, headers in messages:
            await self.producer.send_and_wait(REPORT_READY, value, b"2017-01-28", partition=0, headers=headers)
        if commit:
            await self.producer.commit_transaction()
            self.values += ["null" if value is None else value.decode("utf-8", "replace") for value, _ in messages]
        else:
            await self.producer.abort_transaction()


@pytest.fixture(scope="module")
async def topic(own_kafka: KafkaPart) -> AsyncIterator[Topic]:
    """A first report, its duplicate, an aborted one, another type, foreign records, and a correction."""
    producer = AIOKafkaProducer(bootstrap_servers=own_kafka.bootstrap, transactional_id="ddor-test", acks="all")
    await producer.start()
    try:
        made = Topic(own_kafka.bootstrap, producer)
        await made.correct()
        assert made.last is not None
        await made.send([_message(made.last)])
        given_up = report(snapshot({"32003": 999}, {"32003": 999}), revision=9, previous=made.last.digest)
        await made.send([_message(given_up)], commit=False)
        other = {"specversion": "1.0", "id": "x", "source": "/publisher", "type": "report-tomorrow"}
        await made.send([(json.dumps(other).encode(), [])])
        await made.send([(value, []) for value in _STRANGERS])
        await made.correct()
        yield made
    finally:
        await producer.stop()


async def _lines(command: Sequence[str], topic: Topic, directory: Path, count: int) -> list[str]:
    """The first lines that a program prints. Then the program gets SIGINT."""
    environment = {**os.environ, "DDOR_KAFKA_BOOTSTRAP": topic.bootstrap}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=accept_interrupts,
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(_SECONDS):
            while len(lines) < count and (line := await process.stdout.readline()):
                lines.append(line.decode().strip())
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        _, complaint = await process.communicate()
    assert len(lines) == count, f"exited early: {complaint.decode()[-2_000:]}"
    return lines


@pytest.mark.real_kafka("hides committed records after an aborted transaction from a reader that starts there")
async def test_the_python_program_reads_each_report_once_and_resumes_at_its_offset(
    topic: Topic, tmp_path: Path
) -> None:
    program = tmp_path / "read_reports.py"
    program.write_text(_program("python", "AIOKafkaConsumer"))
    command = [sys.executable, str(program)]
    assert await _lines(command, topic, tmp_path, len(topic.lines)) == topic.lines
    further = await topic.correct()
    assert await _lines(command, topic, tmp_path, 1) == [further]


async def test_the_python_program_skips_known_reports_when_it_reads_from_the_beginning(
    topic: Topic, tmp_path: Path
) -> None:
    """As after a crash between the program's own transaction and the commit of its offset."""
    program = tmp_path / "read_reports.py"
    source = _program("python", "AIOKafkaConsumer")
    program.write_text(source.replace("reports-in-python", "one"))
    assert await _lines([sys.executable, str(program)], topic, tmp_path, len(topic.lines)) == topic.lines
    further = await topic.correct()
    program.write_text(source.replace("reports-in-python", "another"))
    assert await _lines([sys.executable, str(program)], topic, tmp_path, 1) == [further]


@without_java
async def test_the_java_program_reads_each_report_once(topic: Topic, tmp_path: Path) -> None:
    source = _program("java", "class ReadReports")
    java, options, classpath, file = shlex.split(_program("console", "ReadReports.java"))
    assert (java, options, classpath) == ("java", "-cp", "$KAFKA_HOME/libs/*")
    assert (examples.FOLDER.parents[1] / file).read_text(encoding="utf-8") == source
    (tmp_path / "ReadReports.java").write_text(source)
    jars = await asyncio.to_thread(kafka_jars.ensure_jars)
    command = ["java", "-cp", f"{jars}/*", "ReadReports.java"]
    assert await _lines(command, topic, tmp_path, len(topic.lines)) == topic.lines


@without_java
async def test_the_console_consumer_prints_the_committed_records(topic: Topic) -> None:
    tool, *arguments = shlex.split(_program("console", "kafka-console-consumer.sh"))
    assert tool == "kafka-console-consumer.sh"
    assert arguments[:4] == ["--bootstrap-server", "$DDOR_KAFKA_BOOTSTRAP", "--topic", REPORT_READY]
    command = await asyncio.to_thread(
        console_consumer,
        topic.bootstrap,
        REPORT_READY,
        *arguments[4:],
        "--max-messages",
        str(len(topic.values)),
        "--timeout-ms",
        "30000",
    )
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, errors="replace", timeout=120, check=False
    )
    lines = done.stdout.splitlines()
    assert [line.rpartition("\t")[2] for line in lines] == topic.values, done.stderr[-2_000:]
    headers, key, _ = lines[0].split("\t")
    assert key == "2017-01-28"
    assert headers.startswith(f"content-type:{CONTENT_TYPE},id:")
    assert "deprecated" not in done.stderr
