"""Restart a session with Kafka or PostgreSQL after each failure, with a back-off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from services.runtime import error_messages, metrics
from services.runtime.errors import InvariantError, is_transient
from services.runtime.logs import get

log = get(__name__)

_FIRST_WAIT = 0.2
_LONGEST_WAIT = 5.0
_HEALTHY_AFTER = 30.0


class Supervisor:
    """Runs one session at a time, forever. `waiting_for` is the reason why none is running, for /readyz.

    `error` is the error of the last session, until the next one is up.
    """

    def __init__(self, what: str, session: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """`session` takes a callback, which it calls once it is up. It runs until it fails or is cancelled."""
        self._what = what
        self._session = session
        self.waiting_for: str | None = f"{what}: starting"
        self.error: BaseException | None = None
        metrics.SESSION_UP.labels(what).set(0)

    async def run(self) -> None:
        """Run until cancelled. The back-off grows from 0.2 s to 5 s and is reset after 30 healthy seconds."""
        failures = 0
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            error = await self._ended()
            if error is not None:
                if clock() - began > _HEALTHY_AFTER:
                    failures = 0
                failures += 1
                self.error = error_messages.first_error(error)
                self.waiting_for = f"{self._what}: {error_messages.summary(error)}"
                metrics.SESSION_UP.labels(self._what).set(0)
                self._log(error, failures)
                wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(failures - 1, 10))
                await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311  # jitter

    def _log(self, error: BaseException, failures: int) -> None:
        """Log the message of /readyz, and a traceback if the cause is or may be in this program."""
        cause = error_messages.first_error(error)
        why = error_messages.message(error)
        fields = {"what": self._what, "error": type(cause).__name__, "attempt": failures}
        if why is not None:
            fields["reason"] = why
        if is_transient(error):
            log.warning("session-ended", **fields)
        elif why is None or isinstance(cause, InvariantError):
            log.error("session-failed", **fields, exc_info=error)
        else:
            log.error("session-failed", **fields)

    async def _ended(self) -> BaseException | None:
        """Run one session to its end. Returns its error. If cancelled, waits until the session has ended.

        The session runs in a separate task: a library can raise CancelledError without a cancellation, and a task group
        can leave one behind. Neither must end the supervisor.
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
        self.waiting_for = self.error = None
        metrics.SESSION_UP.labels(self._what).set(1)
