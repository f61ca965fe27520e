"""A pooler in front of PostgreSQL: transaction mode is refused on connect, session mode works."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from deploy.local.parts import KafkaPart
from services.aggregator import app as aggregator
from services.publisher import app as publisher
from services.runtime import pooler, postgres
from services.runtime.errors import ConfigurationError
from services.runtime.pooler import TransactionPoolerError
from tests.conftest import MakeSettings
from tests.support import events, kafka_log
from tests.support.commands import ddor
from tests.support.in_process import is_ready, running
from tests.support.pgbouncer import Mode, pooled
from tests.support.positions import Connection
from tests.support.publishing import ANY_SKEW, new_week
from tests.support.waiting import until

IGNORING = "ignore_startup_parameters = jit, search_path, options, extra_float_digits"
TRANSACTION_MODES = [
    ("transaction", ()),
    ("transaction", (IGNORING,)),
    ("transaction", (IGNORING, "default_pool_size = 1")),
    ("transaction", (IGNORING, "min_pool_size = 5", "server_round_robin = 1")),
    ("statement", ()),
]


@pytest.mark.parametrize(("mode", "lines"), TRANSACTION_MODES)
async def test_a_pooler_in_transaction_mode_is_detected_at_each_connection(
    store_settings: MakeSettings, mode: Mode, lines: tuple[str, ...]
) -> None:
    direct = store_settings().postgres_dsn.get_secret_value()
    with pooled(direct, mode, *lines) as dsn:
        for _ in range(5):
            with pytest.raises(TransactionPoolerError, match="pool_mode to session"):
                await postgres.connect(store_settings(postgres_dsn=dsn), "ddor-test")


async def test_commands_and_services_report_a_pooler_in_transaction_mode(settings: MakeSettings) -> None:
    chosen = settings(first_week=new_week().first)
    with pooled(chosen.postgres_dsn.get_secret_value(), "transaction", IGNORING) as dsn:
        wrong = chosen.model_copy(update={"postgres_dsn": type(chosen.postgres_dsn)(dsn)})
        done = await ddor(wrong, "status", COLUMNS="300")
        assert (done.exit_code, pooler.SENTENCE in done.output) == (2, True), done.output
        for module in (aggregator, publisher):
            async with running(module.create(wrong)) as client:

                async def named() -> bool:
                    return pooler.SENTENCE in (await client.get("/readyz")).text  # awaited in this iteration

                await until(named, "the service to name the pooler")


@pytest.mark.parametrize("lines", [(), (IGNORING,)], ids=["refuses settings", "drops settings"])
async def test_in_session_mode_a_reused_connection_has_its_settings(
    store_settings: MakeSettings, lines: tuple[str, ...]
) -> None:
    asking = "SELECT current_setting('search_path'), current_setting('jit'), current_setting('timezone')"
    with pooled(store_settings().postgres_dsn.get_secret_value(), "session", *lines) as dsn:
        chosen = store_settings(postgres_dsn=dsn)
        connection = await postgres.connect(chosen, "ddor-test")
        try:
            assert tuple(await connection.fetchrow(asking) or ()) == ("ddor", "off", "UTC")
        finally:
            await connection.close()
        async with postgres.pool(chosen, "ddor-test", 1) as pool:
            for _ in range(3):
                assert tuple(await pool.fetchrow(asking) or ()) == ("ddor", "off", "UTC")


async def test_in_session_mode_events_are_counted_and_the_week_is_published(
    fresh_settings: MakeSettings, connection: Connection, own_kafka: KafkaPart
) -> None:
    week, kafka = new_week(), own_kafka
    chosen = fresh_settings(worker="one", first_week=week.first)
    at = (week.begins_at + timedelta(days=2)).isoformat()
    with pooled(chosen.postgres_dsn.get_secret_value(), "session", "default_pool_size = 30") as dsn:
        through = chosen.model_copy(update={"postgres_dsn": type(chosen.postgres_dsn)(dsn)})
        async with running(aggregator.create(through)):
            await kafka_log.append(
                kafka.bootstrap, [events.message("issued", events.issued(one, issued_at=at)) for one in range(10)]
            )
            await kafka_log.counted(connection, kafka.bootstrap)
            app = publisher.create(through, lambda: week.ends_at + timedelta(hours=25), skew=ANY_SKEW)
            async with running(app) as client:
                await until(lambda: is_ready(client), "the publisher ready")

                async def published() -> int:
                    return (await client.get(f"/v1/reports/{week.first}.json")).status_code

                async def done() -> bool:
                    return await published() == 200

                await until(done, "the week published")
                report = (await client.get(f"/v1/reports/{week.first}.json")).json()
    assert report["totals"]["issued"] == 10


async def test_without_a_pooler_no_second_connection_is_made(
    store_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    really = postgres._open

    async def counting(*arguments: object) -> object:
        opened.append(arguments)
        return await really(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(postgres, "_open", counting)
    connection = await postgres.connect(store_settings(), "ddor-test")
    await connection.close()
    assert len(opened) == 1


@pytest.fixture
def certificates() -> Iterator[list[Path]]:
    """Two world-readable files, each with a different certificate for 127.0.0.1 and its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        files = [Path(directory, name) for name in ("one.pem", "two.pem")]
        for file in files:
            subprocess.run(
                [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                 "-keyout", f"{file}.key", "-out", str(file)],
                check=True, capture_output=True,
            )  # fmt: skip
            Path(f"{file}.key").chmod(0o644)
        yield files


async def test_a_certificate_is_verified_and_one_that_is_not_trusted_is_named(
    store_settings: MakeSettings, certificates: list[Path]
) -> None:
    """A pooler provides TLS, which the PostgreSQL of the tests does not have."""
    mine, other = certificates
    tls = ("client_tls_sslmode = require", f"client_tls_cert_file = {mine}", f"client_tls_key_file = {mine}.key")
    with pooled(store_settings().postgres_dsn.get_secret_value(), "session", *tls) as dsn:
        verifying = f"{dsn}?sslmode=verify-full&sslrootcert="
        await (await postgres.connect(store_settings(postgres_dsn=f"{verifying}{mine}"), "ddor-test")).close()
        for file, why in (
            (other, r"has a certificate that is not trusted \(.+\): correct sslrootcert or host"),
            (f"{mine}.key", r"TLS with .+ failed \(.+\): correct the ssl parameters"),
        ):
            with pytest.raises(ConfigurationError, match=why):
                await postgres.connect(store_settings(postgres_dsn=f"{verifying}{file}"), "ddor-test")


async def test_keepalives_and_timeouts_are_set_on_the_socket(store_settings: MakeSettings) -> None:
    parameters = "keepalives_idle=31&keepalives_interval=7&keepalives_count=4&tcp_user_timeout=9000&connect_timeout=9"
    dsn = store_settings().postgres_dsn.get_secret_value()
    address = f"{dsn}?{parameters}&channel_binding=prefer&gssencmode=disable"
    connection = await postgres.connect(store_settings(postgres_dsn=address), "ddor-test")
    try:
        taken = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        assert [taken.getsockopt(socket.IPPROTO_TCP, one) for one in options] == [31, 7, 4, 9000]
    finally:
        await connection.close()
