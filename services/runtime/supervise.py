"""Keep a session with the outside world alive: when it ends by an error, wait a little and begin anew."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from services.runtime import metrics
from services.runtime.errors import is_transient
from services.runtime.logs import get

log = get(__name__)

_FIRST_WAIT = 0.2
_LONGEST_WAIT = 5.0
_HEALTHY_AFTER = 30.0


class Supervisor:
    """Runs one session at a time for ever. `waiting_for` says why none is running, for /readyz."""

    def __init__(self, what: str, session: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """`session` is called with a function to call once it is up, and runs until it fails or is cancelled."""
        self._what = what
        self._session = session
        self.waiting_for: str | None = f"{what}: starting"
        metrics.SESSION_UP.labels(what).set(0)

    async def run(self) -> None:
        """Run until cancelled. Waits between attempts grow from 0.2 s to 5 s and start anew after a healthy spell."""
        failures = 0
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                # A task of its own: a task group in it cancels its own task, and here a cancellation is always meant.
                await asyncio.create_task(self._run_session())
            except Exception as error:  # whatever ended the session, the next one is the cure
                _heed_cancellation()
                if clock() - began > _HEALTHY_AFTER:
                    failures = 0
                failures += 1
                name = _name(error)
                self.waiting_for = f"{self._what}: {name}"
                metrics.SESSION_UP.labels(self._what).set(0)
                if is_transient(error):
                    log.warning("session-ended", what=self._what, error=name, attempt=failures)
                else:
                    log.exception("session-failed", what=self._what, attempt=failures)
                wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(failures - 1, 10))
                await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311  # spreads restarts, hides nothing

    async def _run_session(self) -> None:
        await self._session(self._up)

    def _up(self) -> None:
        if self.waiting_for is not None:
            log.info("session-up", what=self._what)
        self.waiting_for = None
        metrics.SESSION_UP.labels(self._what).set(1)


def _heed_cancellation() -> None:
    """A session that was cancelled may end by another error, of its own closing; it is not to begin anew."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _name(error: BaseException) -> str:
    """The error's name; of a group, that of the first one in it."""
    return _name(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else type(error).__name__
