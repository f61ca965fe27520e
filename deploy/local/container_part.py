"""Base class of parts that run as a Docker container."""

from __future__ import annotations

import hashlib
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from deploy.local.errors import PartFailedError
from deploy.local.ports import free_port
from deploy.local.probes import wait_until

_START_SECONDS = 90.0


class ContainerPart(ABC):
    """A container whose name is derived from its directory, so that a later process finds it again."""

    source: Literal["docker"] = "docker"
    name: str
    image: str

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        """`port` 0 is any free port; it stays the same for the lifetime of the container."""
        self.directory = directory.absolute()
        self._wanted_port = port
        self._port_file = self.directory / "port"
        digest = hashlib.sha256(str(self.directory).encode()).hexdigest()[:12]
        self._container_name = f"ddor-{self.image.split(':')[0].replace('/', '-')}-{digest}"

    @abstractmethod
    def _build(self, port: int) -> DockerContainer:
        """Create the container without starting it."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server responds."""

    @property
    def port(self) -> int:
        """Its port on this machine. Raises PartFailedError if it was never started."""
        try:
            return int(self._port_file.read_text())
        except FileNotFoundError:
            raise PartFailedError(f"{self.name} has never been started in {self.directory}") from None

    def running(self) -> bool:
        """Whether the container runs. A paused container counts as running."""
        with self._found() as container:
            return container is not None and container.status in {"running", "paused"}

    def start(self) -> None:
        """Start it and wait until it responds. Raises PartFailedError with the end of its log."""
        try:
            with self._found() as container:
                if container is None:
                    self._create()
                elif container.status == "paused":
                    container.unpause()
                elif container.status != "running":
                    container.start()
            wait_until(self._answers, seconds=_START_SECONDS, what=self.name, alive=self.running)
        except (PartFailedError, OSError) as failure:  # errors of the Docker API are OSErrors
            raise PartFailedError(f"{failure}:\n{self._log_tail()}") from failure

    def stop(self) -> None:
        """Shut it down; SIGKILL after 20 s."""
        with self._found() as container:
            if container is not None:
                if container.status == "paused":
                    container.unpause()
                container.stop(timeout=20)

    def kill(self) -> None:
        """SIGKILL all processes in the container."""
        with self._found() as container:
            if container is not None and container.status in {"running", "paused"}:
                container.kill()
                container.wait()

    def pause(self) -> None:
        """Suspend all its processes."""
        with self._found() as container:
            if container is not None and container.status == "running":
                container.pause()

    def resume(self) -> None:
        """Continue after `pause`."""
        with self._found() as container:
            if container is not None and container.status == "paused":
                container.unpause()

    def destroy(self) -> None:
        """Remove the container, its volumes and the directory."""
        with self._found() as container:
            if container is not None:
                container.remove(force=True, v=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _create(self) -> None:
        port = self._wanted_port or free_port()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._port_file.write_text(str(port))
        if "TESTCONTAINERS_RYUK_DISABLED" not in os.environ:
            # The library's reaper removes containers when this process ends, but they must outlive `up`. It also
            # needs another image. `stop` and `destroy` end the containers instead.
            testcontainers_config.ryuk_disabled = True
        built = self._build(port)
        try:
            built.start()
        finally:
            built.get_docker_client().client.close()

    @contextmanager
    def _found(self) -> Iterator[Any]:
        """The container as an (untyped) object of the Docker client, or None."""
        client = DockerClient().client
        try:
            # Docker searches for the name as a regular expression.
            found = client.containers.list(all=True, filters={"name": f"^/?{self._container_name}$"})
            yield found[0] if found else None
        finally:
            client.close()

    def _log_tail(self) -> str:
        with self._found() as container:
            lines = b"" if container is None else container.logs(tail=20)
        return "\n".join(f"    {line}" for line in lines.decode(errors="replace").splitlines())
