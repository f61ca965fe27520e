"""services.runtime.supervise: a failed session is restarted with a limited back-off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
import structlog

from services.runtime import supervise
from services.runtime.errors import ConfigurationError
from services.runtime.supervise import Supervisor
from tests.support.sessions import turns

Up = Callable[[], None]


class _Asyncio:
    """The module asyncio with another `sleep`. Only the supervisor sees it: other tasks of the loop sleep as usual."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self.sleep = sleep

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The recorded waits of the supervisor, which are skipped."""
    taken: list[float] = []

    async def sleep(seconds: float) -> None:
        taken.append(seconds)
        if len(taken) == 12:
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    monkeypatch.setattr(supervise, "asyncio", _Asyncio(sleep))
    monkeypatch.setattr("services.runtime.supervise.random.uniform", lambda low, high: (low + high) / 2)
    return taken


async def run(supervisor: Supervisor) -> None:
    with pytest.raises(asyncio.CancelledError):
        await supervisor.run()


def failing(error: Exception) -> Callable[[Up], Awaitable[None]]:
    async def session(_: Up) -> None:
        raise error

    return session


async def test_the_waits_double_up_to_a_bound(waits: list[float]) -> None:
    await run(Supervisor("Kafka", failing(OSError())))
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, *[5.0] * 7]


async def test_after_a_healthy_session_the_back_off_restarts(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "_HEALTHY_AFTER", 0.05)

    async def session(_: Up) -> None:
        if len(waits) == 3:
            await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.1)
        raise OSError

    await run(Supervisor("Kafka", session))
    assert waits[:6] == [0.2, 0.4, 0.8, 0.2, 0.4, 0.8]


async def test_the_supervisor_reports_its_reason_to_wait_until_it_is_up(waits: list[float]) -> None:
    seen: list[str | None] = []
    sessions = iter([asyncpg.InterfaceError("planted"), None, ValueError("planted")])

    async def session(up: Up) -> None:
        seen.append(supervisor.waiting_for)
        error = next(sessions, OSError())
        if error is None:
            up()
            seen.append(supervisor.waiting_for)
            raise ConnectionResetError("planted")
        raise error

    supervisor = Supervisor("PostgreSQL", session)
    await run(supervisor)
    assert seen[:5] == [
        "PostgreSQL: starting",
        "PostgreSQL: InterfaceError",
        None,
        "PostgreSQL: ConnectionResetError: the connection to PostgreSQL or Kafka was lost: check that both run",
        "PostgreSQL: ValueError",
    ]


async def test_cancellation_ends_the_session_and_the_supervisor() -> None:
    ended: list[str] = []
    began = asyncio.Event()

    async def session(up: Up) -> None:
        up()
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("session")

    supervisor = Supervisor("Kafka", session)
    task = asyncio.create_task(supervisor.run())
    await began.wait()
    assert supervisor.waiting_for is None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["session"]


async def test_cancellation_ends_a_wait() -> None:
    task = asyncio.create_task(Supervisor("Kafka", failing(OSError())).run())
    await turns()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 60)


async def test_only_permanent_errors_are_logged_with_a_traceback(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with structlog.testing.capture_logs() as logged:
        monkeypatch.setattr(supervise, "log", structlog.get_logger())
        await run(Supervisor("Kafka", failing(OSError())))
        once = list(logged)
        waits.clear()
        await run(Supervisor("Kafka", failing(ValueError())))
    assert {(one["event"], one["log_level"]) for one in once} == {("session-ended", "warning")}
    assert {(one["event"], one["log_level"]) for one in logged[len(once) :]} == {("session-failed", "error")}
    assert [one["attempt"] for one in once] == list(range(1, 13))


async def test_a_session_that_fails_in_a_task_group_is_restarted(waits: list[float]) -> None:
    """A task group cancels its own task. That must not cancel the supervisor."""
    began = 0

    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("planted")

    async def session(up: Up) -> None:
        nonlocal began
        began += 1
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
            tasks.create_task(asyncio.sleep(60))

    await run(Supervisor("Kafka", session))
    assert began > 3
    assert len(waits) >= 3


async def test_an_unrequested_cancellation_is_a_failure(waits: list[float]) -> None:
    """A client library can raise it on close."""

    async def session(_: Up) -> None:
        raise asyncio.CancelledError

    supervisor = Supervisor("Kafka", session)
    await run(supervisor)
    assert len(waits) == 12
    assert supervisor.waiting_for == "Kafka: CancelledError"


async def test_a_requested_cancellation_waits_for_the_end_of_the_session() -> None:
    begun, closed = asyncio.Event(), asyncio.Event()

    async def session(_: Up) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            closed.set()
            raise OSError

    running = asyncio.create_task(Supervisor("Kafka", session).run())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert closed.is_set()


async def test_reasons_for_the_operator_are_shown_and_other_errors_by_name_only(waits: list[float]) -> None:
    """The message of another error may quote a row."""
    supervisor = Supervisor("PostgreSQL", failing(ExceptionGroup("", [ConfigurationError("set DDOR_ZONE=UTC")])))
    await run(supervisor)
    assert supervisor.waiting_for == "PostgreSQL: ConfigurationError: set DDOR_ZONE=UTC"
    waits.clear()
    supervisor = Supervisor("PostgreSQL", failing(ValueError("a row")))
    await run(supervisor)
    assert supervisor.waiting_for == "PostgreSQL: ValueError"
