"""One of the project's services as a background process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local.errors import PartFailedError, log_tail
from deploy.local.ports import LOOPBACK
from deploy.local.probes import http_ready, wait_until
from deploy.local.process import BackgroundProcess

_READY_SECONDS = 60.0
_DRAIN_SECONDS = 20.0


class Service:
    """A process that serves HTTP on `port` of 127.0.0.1 and says at /readyz whether it is ready.

    `state` gets `run/<name>.pid` and `logs/<name>.log`. `env` is the whole environment of the process.
    """

    def __init__(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], port: int, state: Path) -> None:
        self.name = name
        self.port = port
        self.process = BackgroundProcess(state / "run" / f"{name}.pid", state / "logs" / f"{name}.log")
        self._argv = list(argv)
        self._env = dict(env)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"

    def running(self) -> bool:
        """Whether the process runs; paused counts, ready or not."""
        return self.process.alive()

    def ready(self) -> bool:
        """Whether /readyz is 200 now."""
        return http_ready(self.port)

    def spawn(self) -> None:
        """Start the process without waiting for it; nothing if it runs."""
        if not self.running():
            self.process.spawn(self._argv, env=self._env)

    def wait_ready(self, seconds: float = _READY_SECONDS) -> None:
        """Return when /readyz is 200.

        Raises PartFailedError with the tail of its log if it ends first, or after `seconds`; it is then left
        as it is, to be looked at.
        """
        try:
            wait_until(self.ready, seconds=seconds, what=f"service {self.name}", alive=self.running)
        except PartFailedError as failure:
            raise PartFailedError(f"{failure}:\n{log_tail(self.process.log)}") from None

    def start(self) -> None:
        """`spawn` and `wait_ready`."""
        self.spawn()
        self.wait_ready()

    def stop(self, seconds: float = _DRAIN_SECONDS) -> bool:
        """SIGTERM, and SIGKILL after `seconds`. True if it ended by itself in time."""
        return self.process.stop(seconds=seconds)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()

    def restart(self) -> None:
        """`stop` and `start`, on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP."""
        self.process.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self.process.resume()
