"""Base class of parts that run as a native process."""

from __future__ import annotations

import shutil
import signal
from abc import ABC, abstractmethod
from pathlib import Path

from deploy.local.errors import PartFailedError, log_tail
from deploy.local.ports import LOOPBACK, is_free, port_or_free
from deploy.local.probes import wait_until
from deploy.local.process import BackgroundProcess


class ProcessPart(ABC):
    """A server that runs as one process. Its data, log and pidfile are in `directory`.

    Another object with the same directory, in this or a later process, controls the same server.
    """

    stop_signal = signal.SIGTERM
    start_seconds = 60.0

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        """`port` 0: the port used before in this directory if it is free, else any free port."""
        self.directory = directory.absolute()
        self.process = BackgroundProcess(self.directory / "pid", self.directory / "log")
        self._wanted_port = port
        self._port_file = self.directory / "port"

    @property
    @abstractmethod
    def name(self) -> str:
        """Its display name."""

    @abstractmethod
    def _launch(self) -> None:
        """Prepare a new data directory if necessary, and start the process."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server responds."""

    @property
    def port(self) -> int:
        """Its current or last port. Raises PartFailedError if it was never started."""
        try:
            return int(self._port_file.read_text())
        except FileNotFoundError:
            raise PartFailedError(f"{self.name} has never been started in {self.directory}") from None

    def running(self) -> bool:
        """Whether the process runs. A paused process counts as running."""
        return self.process.alive()

    def start(self) -> None:
        """Start it unless it runs, and wait until it responds.

        Raises PartUnavailableError if something is not installed, else PartFailedError with the end of the log, or if
        another program uses its port.
        """
        launched = not self.running()
        if launched:
            self.directory.mkdir(parents=True, exist_ok=True)
            # This object uses the same port from now on, so that clients find a restarted server again.
            self._wanted_port = self._choose_port()
            if not is_free(self._wanted_port):  # whatever listens there could respond in its place
                raise PartFailedError(f"{self.name}: another program uses port {self._wanted_port} on {LOOPBACK}")
            self._port_file.write_text(str(self._wanted_port))
            self._launch()
        try:
            wait_until(self._answers, seconds=self.start_seconds, what=self.name, alive=self.running)
        except PartFailedError as failure:
            if launched:
                self.process.kill()
            raise PartFailedError(f"{failure}:\n{log_tail(self.process.log)}") from None

    def stop(self) -> None:
        """Shut it down; SIGKILL after 20 s. No effect if it does not run."""
        self.process.stop(self.stop_signal)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def pause(self) -> None:
        """Suspend it (SIGSTOP): connections stay open, requests get no response."""
        self.process.pause()

    def resume(self) -> None:
        """Continue after `pause` (SIGCONT)."""
        self.process.resume()

    def destroy(self) -> None:
        """Stop it and delete its data."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _choose_port(self) -> int:
        if self._wanted_port:
            return self._wanted_port
        try:
            return port_or_free(int(self._port_file.read_text()))
        except FileNotFoundError:
            return port_or_free(0)
