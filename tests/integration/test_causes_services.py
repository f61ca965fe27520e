"""Errors with an external cause: /readyz and the log have the same sentence, without a traceback."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import structlog.testing

from deploy.local.parts import PostgresPart
from services.aggregator import app as aggregator
from services.ingest import app as ingest
from services.publisher import app as publisher
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support.causes import CAUSES, NOT_MIGRATED, READ_ONLY, UNREADABLE, UNUSED, Cause, wrong
from tests.support.in_process import is_ready, running
from tests.support.local_parts import new_database
from tests.support.publishing import new_week
from tests.support.waiting import until

SERVED = tuple(one for one in CAUSES if one.what not in UNREADABLE)


@pytest.mark.parametrize("cause", SERVED, ids=lambda cause: cause.what)
async def test_readyz_and_the_log_have_the_sentence_of_the_commands(
    settings: MakeSettings, tmp_path: Path, cause: Cause
) -> None:
    right = settings(worker="one", first_week="2014-10-11")
    await _same_sentence(wrong(right, cause), cause.sentence)


async def test_readyz_and_the_log_report_a_database_that_is_not_migrated(
    settings: MakeSettings, postgres: PostgresPart
) -> None:
    with new_database(postgres) as dsn:
        await _same_sentence(settings(postgres_dsn=dsn, first_week="2014-10-11"), NOT_MIGRATED)


async def test_readyz_and_the_log_report_a_read_only_database(settings: MakeSettings) -> None:
    chosen = settings(first_week="2014-10-11")
    dsn = chosen.postgres_dsn.get_secret_value()
    connection = await asyncpg.connect(dsn)
    name = urlsplit(dsn).path.strip("/")
    await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    await connection.close()
    await _same_sentence(chosen, re.escape(READ_ONLY))


async def test_readyz_and_the_log_report_that_kafka_is_unavailable(settings: MakeSettings) -> None:
    away = settings(kafka_bootstrap=f"127.0.0.1:{UNUSED}", first_week="2014-10-11")
    await _same_sentence(away, "no Kafka broker responds: start Kafka, or correct DDOR_KAFKA_BOOTSTRAP", ingest)


async def _same_sentence(chosen: Settings, sentence: str, *more: object) -> None:
    for module in (aggregator, publisher, *more):
        detail = ""
        with structlog.testing.capture_logs() as logged:
            async with running(module.create(chosen)) as client:  # type: ignore[attr-defined]

                async def named() -> bool:
                    nonlocal detail
                    detail = (await client.get("/readyz")).json()["detail"]  # awaited in this iteration
                    return bool(re.search(sentence, detail))

                await until(named, f"the service to report {sentence}")
        mine = [one for one in logged if one["event"] in {"session-ended", "session-failed"}]
        assert mine
        assert not any("exc_info" in line for line in mine), "no traceback for an external cause"
        assert f": {mine[0]['error']}: {mine[0]['reason']}" in detail
        assert "planted" not in f"{detail}{logged}"


async def test_a_bad_agencies_file_makes_a_running_service_not_ready_with_the_rule(
    settings: MakeSettings, agencies_file: Path
) -> None:
    chosen = settings(first_week=new_week().first)
    valid = await asyncio.to_thread(agencies_file.read_text)
    for module in (publisher, ingest):
        async with running(module.create(chosen)) as client:
            await until(lambda: is_ready(client), "ready")  # awaited in this iteration
            await asyncio.to_thread(agencies_file.write_text, "agency = 5")

            async def named() -> str:
                return (await client.get("/readyz")).text  # awaited in this iteration

            async def refused() -> bool:
                return "DDOR_AGENCIES_FILE: " in await named()

            await until(refused, "the service to report the invalid agencies file")
            assert "write [[agency]], once for each agency" in await named()
            await asyncio.to_thread(agencies_file.write_text, valid)
            await until(lambda: is_ready(client), "ready again")  # awaited in this iteration
