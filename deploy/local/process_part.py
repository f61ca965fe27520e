"""What the parts that are plain processes of this machine have in common."""

from __future__ import annotations

import shutil
import signal
from abc import ABC, abstractmethod
from pathlib import Path

from deploy.local.errors import PartFailedError, log_tail
from deploy.local.ports import port_or_free
from deploy.local.probes import wait_until
from deploy.local.process import BackgroundProcess


class ProcessPart(ABC):
    """A server that runs as one process, with its data, log and pidfile below `directory`.

    A part built on the directory of a running one, in this process or a later one, *is* that part.
    """

    stop_signal = signal.SIGTERM
    start_seconds = 60.0

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        """`port` 0: the port used before in this directory if it is free, else any free one."""
        self.directory = directory.absolute()
        self.process = BackgroundProcess(self.directory / "pid", self.directory / "log")
        self._wanted_port = port
        self._port_file = self.directory / "port"

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is, for people."""

    @abstractmethod
    def _launch(self) -> None:
        """Prepare the data directory if it is new, and spawn the process."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server serves."""

    @property
    def port(self) -> int:
        """The port it listens on, or did when it last ran. Raises PartFailedError if it never ran."""
        try:
            return int(self._port_file.read_text())
        except FileNotFoundError:
            raise PartFailedError(f"{self.name} has never been started in {self.directory}") from None

    def running(self) -> bool:
        """Whether the process runs (paused counts)."""
        return self.process.alive()

    def start(self) -> None:
        """Start it and return when it answers. Nothing if it runs.

        Raises PartUnavailableError if something is not installed, else PartFailedError with the log's tail.
        """
        launched = not self.running()
        if launched:
            self.directory.mkdir(parents=True, exist_ok=True)
            # From here on this object stays on one port: clients of a restarted server must find it again.
            self._wanted_port = self._choose_port()
            self._port_file.write_text(str(self._wanted_port))
            self._launch()
        try:
            wait_until(self._answers, seconds=self.start_seconds, what=self.name, alive=self.running)
        except PartFailedError as failure:
            if launched:
                self.process.kill()
            raise PartFailedError(f"{failure}:\n{log_tail(self.process.log)}") from None

    def stop(self) -> None:
        """End it in an orderly way; killed after 20 s. Nothing if it does not run."""
        self.process.stop(self.stop_signal)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same data and port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered (SIGSTOP)."""
        self.process.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
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
