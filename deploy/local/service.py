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
    """A process that serves HTTP on `port` of 127.0.0.1, with a readiness check at /readyz.

    Its files in `state` are `run/<name>.pid` and `logs/<name>.log`. `env` is the complete environment of the process.
    """

    def __init__(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], port: int, state: Path) -> None:
        self.name = name
        self.port = port
        self.process = BackgroundProcess(state / "run" / f"{name}.pid", state / "logs" / f"{name}.log")
        self._argv = list(argv)
        self._env = dict(env)

    @property
    def url(self) -> str:
        """Its base URL, without a trailing slash."""
        return f"http://{LOOPBACK}:{self.port}"

    def running(self) -> bool:
        """Whether the process runs, ready or not. A paused process counts as running."""
        return self.process.alive()

    def ready(self) -> bool:
        """Whether /readyz returns 200."""
        return http_ready(self.port)

    def spawn(self) -> None:
        """Start the process unless it runs. Does not wait."""
        if not self.running():
            self.process.spawn(self._argv, env=self._env)

    def wait_ready(self, seconds: float = _READY_SECONDS) -> None:
        """Wait until /readyz returns 200.

        Raises PartFailedError with the end of the log if the process exits, or after `seconds`. The process is then not
        stopped, so that it can be inspected.
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
        """SIGTERM, and SIGKILL after `seconds`. Returns whether SIGKILL was not needed."""
        return self.process.stop(seconds=seconds)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def pause(self) -> None:
        """SIGSTOP."""
        self.process.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self.process.resume()
