"""The consumers in docs/consumers.md, as they stand there, on a topic with what a reader has to get right."""

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
from schemas.report import Report, announcement, report_id
from schemas.topics import CONTENT_TYPE, REPORT_READY
from tests.support import examples
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


Message = tuple[bytes, list[tuple[str, bytes]]]


def _message(document: Report) -> Message:
    identity = report_id(document.week_start, document.revision)
    value = announcement(document, document.digest, "2017-02-05T05:00:00Z")
    return value, [("content-type", CONTENT_TYPE.encode()), ("id", identity.encode())]


def _line(document: Report) -> str:
    totals = document.totals
    return f"2017-01-28 revision {document.revision}: issued {totals.issued}, declined {totals.declined}"


@dataclass(slots=True)
class Topic:
    """`report-ready`: what committed records it holds, and what a program that reads them has to print."""

    bootstrap: str
    producer: AIOKafkaProducer
    types: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    last: Report | None = None

    async def correct(self) -> str:
        """A further revision of the week; the line that it makes."""
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
            self.types += [json.loads(value)["type"] for value, _ in messages]
        else:
            await self.producer.abort_transaction()


@pytest.fixture(scope="module")
async def topic(own_kafka: KafkaPart) -> AsyncIterator[Topic]:
    """A first report, the same again, one that was given up, an event of another type, and a correction."""
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
        await made.correct()
        yield made
    finally:
        await producer.stop()


def _heed_interrupts() -> None:
    """Where the tests run in the background, a child would inherit that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def _lines(command: Sequence[str], topic: Topic, directory: Path, count: int) -> list[str]:
    """The first lines that a program prints; then it is ended, as with Ctrl-C."""
    environment = {**os.environ, "DDOR_KAFKA_BOOTSTRAP": topic.bootstrap}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_heed_interrupts,
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
    assert len(lines) == count, f"ended by itself: {complaint.decode()[-2_000:]}"
    return lines


@pytest.mark.real_kafka("hides what a producer committed behind an aborted transaction from who reads from there")
async def test_the_python_program_takes_each_report_once_and_goes_on_where_it_was(topic: Topic, tmp_path: Path) -> None:
    program = tmp_path / "read_reports.py"
    program.write_text(_program("python", "AIOKafkaConsumer"))
    command = [sys.executable, str(program)]
    assert await _lines(command, topic, tmp_path, len(topic.lines)) == topic.lines
    further = await topic.correct()
    assert await _lines(command, topic, tmp_path, 1) == [further]


async def test_the_python_program_does_not_take_a_report_twice_when_it_reads_all_again(
    topic: Topic, tmp_path: Path
) -> None:
    """As after a crash between its own transaction and the commit of the offset."""
    program = tmp_path / "read_reports.py"
    source = _program("python", "AIOKafkaConsumer")
    program.write_text(source.replace("reports-in-python", "one"))
    assert await _lines([sys.executable, str(program)], topic, tmp_path, len(topic.lines)) == topic.lines
    further = await topic.correct()
    program.write_text(source.replace("reports-in-python", "another"))
    assert await _lines([sys.executable, str(program)], topic, tmp_path, 1) == [further]


@without_java
async def test_the_java_program_takes_each_report_once(topic: Topic, tmp_path: Path) -> None:
    source = _program("java", "class ReadReports")
    place, options, classpath, file = shlex.split(_program("console", "ReadReports.java"))
    assert (place, options, classpath) == ("java", "-cp", "$KAFKA_HOME/libs/*")
    assert (examples.FOLDER.parents[1] / file).read_text(encoding="utf-8") == source
    (tmp_path / "ReadReports.java").write_text(source)
    jars = await asyncio.to_thread(kafka_jars.ensure_jars)
    command = ["java", "-cp", f"{jars}/*", "ReadReports.java"]
    assert await _lines(command, topic, tmp_path, len(topic.lines)) == topic.lines


@without_java
async def test_the_console_consumer_prints_the_records_that_are_committed(topic: Topic) -> None:
    tool, *arguments = shlex.split(_program("console", "kafka-console-consumer.sh"))
    assert tool == "kafka-console-consumer.sh"
    assert arguments[:4] == ["--bootstrap-server", "$DDOR_KAFKA_BOOTSTRAP", "--topic", REPORT_READY]
    command = await asyncio.to_thread(
        kafka_jars.console_consumer,
        topic.bootstrap,
        REPORT_READY,
        *arguments[4:],
        "--max-messages",
        str(len(topic.types)),
        "--timeout-ms",
        "30000",
    )
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120, check=False)
    lines = done.stdout.splitlines()
    assert [json.loads(line.rpartition("\t")[2])["type"] for line in lines] == topic.types, done.stderr[-2_000:]
    headers, key, _ = lines[0].split("\t")
    assert key == "2017-01-28"
    assert headers.startswith(f"content-type:{CONTENT_TYPE},id:")
    assert "deprecated" not in done.stderr
