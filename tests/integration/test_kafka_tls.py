"""A real Kafka with TLS: client certificates, SCRAM-SHA-512, a sentence for each wrong setting, new certificates."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog.testing
from typer.testing import CliRunner

from services.aggregator import app as aggregator
from services.cli import main
from services.ingest import app as ingest
from services.publisher import app as publisher
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support.agencies import LAS_VEGAS, key_of
from tests.support.certificates import Authority
from tests.support.commands import environment
from tests.support.events import envelope, issued
from tests.support.in_process import is_ready, running
from tests.support.processes import SINGLE, service, started
from tests.support.publishing import new_week
from tests.support.secure_kafka import SecureKafka, secure_kafka
from tests.support.waiting import until


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with secure_kafka(tmp_path_factory.mktemp("secure-kafka")) as part:
        yield part


def apply_topics(chosen: Settings) -> tuple[int, str]:
    """Run `ddor topics apply`. Returns its exit code and standard error."""
    result = CliRunner().invoke(main.command("topics"), ["topics", "apply"], env=environment(chosen))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.stderr


@pytest.mark.parametrize("how", ["mutual", "scram"])
async def test_the_services_work_with_a_certificate_and_with_a_password(
    kafka: SecureKafka, store_settings: MakeSettings, how: str
) -> None:
    chosen = store_settings(first_week=new_week().first, worker=how, **getattr(kafka, how)())
    code, err = await asyncio.to_thread(apply_topics, chosen)
    assert code == 0, err
    headers = {"Authorization": f"Bearer {key_of(LAS_VEGAS)}", "Content-Type": SINGLE}
    async with running(ingest.create(chosen)) as client:
        await until(lambda: is_ready(client), "ingest is ready")
        body = json.dumps(envelope("issued", issued()))
        assert (await client.post("/v1/events", content=body, headers=headers)).status_code == 202
    for module in (aggregator, publisher):
        async with running(module.create(chosen)) as client:
            await until(lambda: is_ready(client), "ready")  # awaited in this iteration


class Wrong(NamedTuple):
    """A fault in the settings or files of a client, and the expected message (a regex)."""

    what: str
    change: Callable[[SecureKafka, Path], dict[str, Any]]
    sentence: str


def _other_ca(kafka: SecureKafka, directory: Path) -> dict[str, Any]:
    return kafka.scram(kafka_ssl_cafile=Authority("another").write(directory / "other.pem"))


def _client(kafka: SecureKafka, directory: Path, authority: Authority, days: float) -> dict[str, Any]:
    certificate, key = authority.issue("ddor", days=days).write(directory)
    return kafka.mutual(kafka_ssl_certfile=certificate, kafka_ssl_keyfile=key)


_REFUSED = (
    r"Kafka at 127.0.0.1:\d+ (refuses the client certificate, or requires one \([a-z ]+\):|has closed the connection"
    r" after the TLS handshake: if it requires a client certificate,) correct DDOR_KAFKA_SSL_CERTFILE and"
    " DDOR_KAFKA_SSL_KEYFILE"
)
WRONG = (
    Wrong(
        "another CA",
        _other_ca,
        r"Kafka at 127.0.0.1:\d+ has a certificate that is not trusted \(.+\): correct DDOR_KAFKA_SSL_CAFILE, or",
    ),
    Wrong(
        "another host",
        lambda kafka, _: kafka.scram(kafka_bootstrap=kafka.login.replace("127.0.0.1", "localhost")),
        r"Kafka at localhost:\d+ has a certificate that is not trusted \(Hostname mismatch.+\): correct",
    ),
    Wrong(
        "no client certificate",
        lambda kafka, _: kafka.mutual(kafka_ssl_certfile=None, kafka_ssl_keyfile=None),
        _REFUSED,
    ),
    Wrong("expired", lambda kafka, directory: _client(kafka, directory, kafka.authority, -1), _REFUSED),
    Wrong("of another CA", lambda kafka, directory: _client(kafka, directory, Authority("another"), 5), _REFUSED),
    Wrong(
        "wrong password",
        lambda kafka, _: kafka.scram(kafka_sasl_password="planted and wrong"),
        "Kafka rejects the login: correct DDOR_KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD",
    ),
    Wrong(
        "another mechanism",
        lambda kafka, _: kafka.scram(kafka_sasl_mechanism="PLAIN"),
        "Kafka rejects the login: correct DDOR_KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD",
    ),
    Wrong(
        "a port without TLS",
        lambda kafka, _: kafka.scram(kafka_bootstrap=kafka.part.bootstrap),
        "no Kafka broker responds: start Kafka, or correct DDOR_KAFKA_BOOTSTRAP and DDOR_KAFKA_SECURITY_PROTOCOL",
    ),
)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.what)
async def test_a_wrong_setting_is_named_by_commands_and_by_readyz(
    kafka: SecureKafka, agencies_file: Path, tmp_path: Path, wrong: Wrong
) -> None:
    chosen = Settings(**{"agencies_file": agencies_file, **wrong.change(kafka, tmp_path)})
    code, err = await asyncio.to_thread(apply_topics, chosen)
    assert code == 2
    assert re.search(wrong.sentence, err), err
    assert err.count("\n") == 1
    assert "planted" not in err
    with structlog.testing.capture_logs() as logged:
        async with running(ingest.create(chosen)) as client:

            async def is_named() -> bool:
                response = await client.get("/readyz")
                return response.status_code == 503 and bool(re.search(wrong.sentence, response.json()["detail"]))

            await until(is_named, f"ingest reports {wrong.sentence}")
    mine = [one for one in logged if one["event"] in {"session-ended", "session-failed"}]
    assert mine
    assert not any("exc_info" in line for line in mine), "no traceback for an external cause"
    assert "planted" not in str(logged)


async def test_new_files_are_used_for_new_connections_without_a_restart(
    kafka: SecureKafka, agencies_file: Path, tmp_path: Path
) -> None:
    """The CA of both sides is replaced: first in the files of a running process, then by a restart of the broker."""
    chosen = Settings(**{"agencies_file": agencies_file, **kafka.mutual()})
    code, err = await asyncio.to_thread(apply_topics, chosen)
    assert code == 0, err
    successor = Authority("the next one")
    process = service("ingest", tmp_path, environment(chosen))

    async def is_up() -> bool:
        return await asyncio.to_thread(process.ready)

    async def is_down() -> bool:
        return not await is_up()

    with started(process):
        kafka.write(successor.issue("ddor"))
        successor.write(kafka.directory / "ca.pem")
        assert await is_up(), "the open connections continue"
        kafka.write_broker(successor)
        try:
            await asyncio.to_thread(kafka.part.stop)
            await until(is_down, "ingest has lost Kafka")
            await asyncio.to_thread(kafka.part.start)
            await until(is_up, "ready with the new certificates")
        finally:
            kafka.write(kafka.authority.issue("ddor"))
            kafka.authority.write(kafka.directory / "ca.pem")
            kafka.write_broker(kafka.authority)
            await asyncio.to_thread(kafka.part.stop)
            await asyncio.to_thread(kafka.part.start)
