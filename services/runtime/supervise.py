"""Keep a session with the outside world alive: when it ends by an error, wait a little and begin anew."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from services.runtime import metrics
from services.runtime.errors import CallerError, is_transient
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
            error = await self._ended()
            if error is not None:
                if clock() - began > _HEALTHY_AFTER:
                    failures = 0
                failures += 1
                name = type(_first(error)).__name__
                self.waiting_for = f"{self._what}: {_said(error)}"
                metrics.SESSION_UP.labels(self._what).set(0)
                if is_transient(error):
                    log.warning("session-ended", what=self._what, error=name, attempt=failures)
                else:
                    log.error("session-failed", what=self._what, attempt=failures, exc_info=error)
                wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(failures - 1, 10))
                await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311  # spreads restarts, hides nothing

    async def _ended(self) -> BaseException | None:
        """Run one session to its end and say by what it failed; cancelled, wait until it has ended too.

        It has a task of its own: a library may raise CancelledError where nobody was cancelled, and a task group may
        leave a cancellation of its own behind. Neither is to end the supervisor.
        """
        session = asyncio.ensure_future(self._session(self._up))
        try:
            await asyncio.wait([session])
        finally:
            session.cancel()
            await asyncio.wait([session])
            error = asyncio.CancelledError() if session.cancelled() else session.exception()
        return error

    def _up(self) -> None:
        if self.waiting_for is not None:
            log.info("session-up", what=self._what)
        self.waiting_for = None
        metrics.SESSION_UP.labels(self._what).set(1)


def _first(error: BaseException) -> BaseException:
    """The error; of a group, the first one in it."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _said(error: BaseException) -> str:
    """The error's name, and what the operator is to do about one that only he can mend. Others may quote a row."""
    error = _first(error)
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, CallerError) else name
