"""`ddor topics apply --acls` on a Kafka with an authorizer: all services work with exactly these rights.

Each service has its own user. tests/integration/test_kafka_rights.py shows that no right is superfluous.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest

from deploy.local.parts import KafkaPart
from deploy.local.service import Service
from schemas.topics import DETAINER_ISSUED, DETAINER_REJECTED, REPORT_LATEST, REPORT_READY, TOPICS
from services.cli.acls import RIGHTS, Acl
from services.runtime.kafka_rights import GROUP, Operation, Resource
from services.runtime.settings import Settings
from tests.support import kafka_log
from tests.support.agencies import write_agencies
from tests.support.authorizing import AuthorizingKafka, authorizing, grant, revoke
from tests.support.causes import DENIALS
from tests.support.commands import Done, ddor
from tests.support.events import attested, envelope, issued
from tests.support.kafka_log import Message
from tests.support.processes import client, post, service, start_unready
from tests.support.waiting import until

_OPERATOR = ("--operator-principal", "User:ddor-operator")
_OTHER = "other"
_CHECK_ONLY = (Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS)


@dataclass(slots=True)
class System:
    """A Kafka without ACLs, and the three services, which run and are not ready."""

    kafka: AuthorizingKafka
    database: str
    agencies: Path
    saturday: datetime
    services: dict[str, Service]

    async def ddor(self, user: str | None, *arguments: str) -> Done:
        """Run a command as this user, or as the administrator."""
        settings = Settings(postgres_dsn=self.database, agencies_file=self.agencies)
        login = {"DDOR_KAFKA_BOOTSTRAP": self.kafka.part.bootstrap} if user is None else self.kafka.environment(user)
        return await ddor(settings, *arguments, DDOR_FIRST_WEEK=first_week(self.saturday), **login)

    async def readyz(self, name: str) -> str:
        """The detail of /readyz; empty if the service is ready."""
        async with httpx.AsyncClient(base_url=self.services[name].url, trust_env=False) as http:
            response = await http.get("/readyz")
        return "" if response.status_code == 200 else str(response.json()["detail"])

    async def fetchval(self, query: str) -> object:
        """One value from the database."""
        connection = await asyncpg.connect(self.database, server_settings={"search_path": "ddor"})
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async def all_ready(self) -> bool:
        """Whether all services are ready."""
        return not any([await self.readyz(name) for name in self.services])

    def log(self, name: str) -> str:
        """The log of a service."""
        return self.services[name].process.log.read_text(encoding="utf-8")


def first_week(saturday: datetime) -> str:
    """The current week, so that no week closes by itself."""
    return str((saturday + timedelta(days=14)).date())


@pytest.fixture(scope="module")
def system(module_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A week that has ended begins on `saturday`."""
    directory = tmp_path_factory.mktemp("acls")
    past = datetime.now(UTC).replace(hour=17, minute=0, second=0, microsecond=0) - timedelta(days=14)
    saturday = past - timedelta(days=(past.weekday() + 2) % 7)
    agencies = write_agencies(directory / "agencies.toml")
    users = [f"ddor-{name}" for name in RIGHTS]
    with ExitStack() as stack:
        kafka = stack.enter_context(authorizing(directory / "kafka", [*users, _OTHER]))
        built = System(kafka, module_database, agencies, saturday, {})
        for name in ("ingest", "aggregator", "publisher"):
            env = {
                **kafka.environment(f"ddor-{name}"),
                "DDOR_POSTGRES_DSN": module_database,
                "DDOR_AGENCIES_FILE": str(agencies),
                "DDOR_FIRST_WEEK": first_week(saturday),
            }
            one = built.services[name] = service(name, directory, env)
            stack.callback(one.stop)
            start_unready(one)
        yield built


def _topic_rights(name: str) -> list[str]:
    return [str(right) for right in RIGHTS[name] if right.resource is Resource.TOPIC]


async def _named(system: System, name: str, rights: list[str]) -> None:
    async def all_in_it() -> bool:
        detail = await system.readyz(name)
        return all(right in detail for right in rights) and "run `ddor topics apply --acls`" in detail

    await until(all_in_it, f"{name}: /readyz with {rights}")


async def test_services_name_the_missing_rights_until_the_command_grants_them(system: System) -> None:
    """First without ACLs. Then all services become ready, without a restart."""
    await system.ddor(None, "topics", "apply")
    await _named(system, "ingest", _topic_rights("ingest"))
    await _named(system, "aggregator", _topic_rights("aggregator"))
    relayed = (
        f"Write on topic {REPORT_READY}",
        f"Write on topic {REPORT_LATEST}",
        f"Read on topic {DETAINER_REJECTED}",
    )
    await _named(system, "publisher", list(relayed))
    assert "Traceback" not in "".join(map(system.log, system.services))

    checked = await system.ddor(None, "topics", "apply", "--acls", "--check", *_OPERATOR)
    lacking = {line for line in checked.out.splitlines() if "lacks" in line}
    every = {f"User:ddor-{name}: lacks {right}" for name, rights in RIGHTS.items() for right in rights}
    assert (checked.exit_code, lacking) == (1, every)
    done = await system.ddor(None, "topics", "apply", "--acls", *_OPERATOR)
    assert (done.exit_code, done.out.count("granted")) == (0, len(every)), done.output
    for more in ((), ("--check",)):
        again = await system.ddor(None, "topics", "apply", "--acls", *_OPERATOR, *more)
        assert again.exit_code == 0, again.output
        assert "nothing to do: all principals have exactly their rights" in again.out
    await until(system.all_ready, "all services ready")


async def test_a_week_is_counted_closed_and_published_with_exactly_these_rights(system: System) -> None:
    moment = (system.saturday + timedelta(days=2)).isoformat()
    week = str(system.saturday.date())
    event = envelope("issued", issued(issued_at=moment), time=moment)
    changes = {"type": "week-attested", "subject": week, "dataschema": "/schemas/week-attested/1", "time": moment}
    both = (event, envelope("issued", attested(week, issued=1), **changes))
    # A record that the aggregator rejects, so that the relay sends to `detainer-rejected`.
    await kafka_log.append(system.kafka.part.bootstrap, [Message(DETAINER_ISSUED, b"not json", partition=3)])
    async with client(system.services["ingest"]) as http:
        for one in both:
            response = await post(http, json.dumps(one).encode())
            assert response.status_code == 202, response.text
    closed = await system.ddor("ddor-operator", "close", week, "--by", "Ada")
    assert closed.exit_code == 0, closed.output

    async def published() -> bool:
        sent = "SELECT count(DISTINCT topic) = 3 AND bool_and(sent_at IS NOT NULL) FROM outbox"
        return bool(await system.fetchval(sent))

    async def verified() -> bool:
        return bool(await system.fetchval("SELECT outcome = '' AND records > 0 FROM verification"))

    async def committed() -> bool:
        async with kafka_log.admin(system.kafka.part.bootstrap) as admin:
            return bool(await admin.list_consumer_group_offsets(GROUP))

    await until(published, "report and reject are on their topics")
    await until(verified, "the publisher has compared the report with the log")
    await until(committed, "the positions are committed for the lag tools")
    for topic in (REPORT_READY, REPORT_LATEST, DETAINER_REJECTED):
        assert await kafka_log.read(system.kafka.part.bootstrap, topic), topic
    assert await system.fetchval("SELECT figures -> 'totals' ->> 'issued' FROM report") == "1"
    async with httpx.AsyncClient(base_url=system.services["publisher"].url, trust_env=False) as http:
        metrics = (await http.get("/metrics")).text
    assert 'ddor_publisher_clock_skew_seconds{against="kafka"}' in metrics, "the time of Kafka was compared"
    assert await system.all_ready()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("status",), 0, "detainer-issued"),
        (("trace", "detainer-issued/5/99"), 1, "there is no such record"),
        (("verify",), 0, "replay: 3 offsets give the figures digest"),
        (("recover", "--by", "Ada"), 0, "nothing"),
        # Still invalid, so it is not sent. The producer with the right to write has started.
        (("rejected", "redrive", "detainer-issued/3/0", "--by", "Ada"), 1, "not sent: still invalid"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
async def test_an_operator_runs_the_commands(
    system: System, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    done = await system.ddor("ddor-operator", *arguments)
    assert (done.exit_code, sentence in done.output) == (code, True), done.output
    denied = await system.ddor(_OTHER, *arguments)
    assert denied.exit_code == 2, denied.output
    assert "Kafka denies this user " in denied.output
    assert "run `ddor topics apply --acls`" in denied.output


@pytest.mark.parametrize("round_of", [DENIALS[:3], DENIALS[3:5], DENIALS[5:]], ids=["topics", "copies", "transactions"])
async def test_a_right_that_is_taken_from_a_running_service_is_named_until_it_is_back(
    system: System, round_of: tuple[object, ...]
) -> None:
    await until(system.all_ready, "all services ready")
    denials = [one for one in DENIALS if one in round_of]
    taken = [Acl(f"User:ddor-{one.service}", *one.right) for one in denials]
    await revoke(system.kafka, *taken)
    try:
        if denials == list(DENIALS[5:]):  # the next session acquires the transactional id
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ddor-publisher'"
            await system.fetchval(f"{end} AND datname = current_database()")
        for one in denials:

            async def named(service: str = one.service, sentence: str = one.sentence) -> bool:
                return sentence in await system.readyz(service)

            await until(named, f"{one.service}: /readyz with the sentence for {one.right}")
            assert one.sentence.partition(": ")[2] in system.log(one.service), "the log has it, too"
    finally:
        await grant(system.kafka, *taken)
    await until(system.all_ready, "all services ready")


async def test_rights_beyond_the_list_are_drift_and_are_not_removed(system: System) -> None:
    await until(system.all_ready, "all services ready")
    topic, read, write = Resource.TOPIC, Operation.READ, Operation.WRITE
    beyond = {
        Acl("User:ddor-ingest", read, topic, DETAINER_ISSUED): "Read on topic detainer-issued",
        Acl("User:ddor-aggregator", write, topic, "detainer-", pattern=4): "Write on topic detainer-*",
        Acl("User:ddor-publisher", write, topic, REPORT_READY, host="10.0.0.1"): "from host 10.0.0.1",
        Acl("User:*", read, topic, "*"): "Read on topic *",
    }
    others = [Acl("User:other", write, topic, DETAINER_ISSUED), Acl("User:*", read, topic, "payments")]
    await grant(system.kafka, *beyond, *others)
    try:
        for more in ((), ("--check",)):
            done = await system.ddor(None, "topics", "apply", "--acls", *_OPERATOR, *more)
            lines = [line for line in done.out.splitlines() if "beyond" in line]
            assert (done.exit_code, len(lines)) == (1, len(beyond)), done.output
            for acl, text in beyond.items():
                wanted = f"{acl.principal}: has, beyond its rights, "
                assert any(line.startswith(wanted) and text in line for line in lines), (acl, lines)
    finally:
        await revoke(system.kafka, *beyond, *others)
    done = await system.ddor(None, "topics", "apply", "--acls", "--check", *_OPERATOR)
    assert done.exit_code == 0, done.output


async def test_a_user_without_rights_on_acls_and_a_broker_without_an_authorizer_are_reported(
    system: System, kafka: KafkaPart
) -> None:
    configs = [Acl("User:other", one, Resource.TOPIC, topic.name) for topic in TOPICS for one in _CHECK_ONLY]
    await grant(system.kafka, *configs)
    try:
        for more in ((), ("--check",)):
            done = await system.ddor(_OTHER, "topics", "apply", "--acls", *more)
            assert (done.exit_code, "does not allow this user to read or create ACLs" in done.err) == (2, True), done
    finally:
        await revoke(system.kafka, *configs)
    if kafka.source == "embedded":
        return
    settings = Settings(kafka_bootstrap=kafka.bootstrap)
    done = await ddor(settings, "topics", "apply", "--acls")
    assert (done.exit_code, "Kafka has no authorizer" in done.err) == (2, True), done.output


async def test_two_services_may_have_one_user(system: System) -> None:
    one = [f"--{name}-principal=User:both" for name in ("ingest", "aggregator")]
    done = await system.ddor(None, "topics", "apply", "--acls", "--check", *one)
    lines = [line for line in done.out.splitlines() if line.startswith("User:both")]
    assert len(lines) == len(set(RIGHTS["ingest"]) | set(RIGHTS["aggregator"])), done.output


@pytest.mark.parametrize("principal", ["ddor-ingest", "User:*", "User:", ""])
async def test_a_principal_that_is_not_one_user_is_refused(system: System, principal: str) -> None:
    done = await system.ddor(None, "topics", "apply", "--acls", f"--ingest-principal={principal}")
    assert (done.exit_code, "--ingest-principal: " in done.err) == (2, True), done.output
    alone = await system.ddor(None, "topics", "apply", f"--ingest-principal={principal}")
    assert (alone.exit_code, "add --acls" in alone.err) == (2, True), alone.output
