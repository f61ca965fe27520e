"""What the parts that are Docker containers have in common."""

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
    """A container that is named after its directory, so that a later process finds it again."""

    kind: Literal["docker"] = "docker"
    real = True
    name: str
    image: str

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        """`port` 0: any free one, and then that one for as long as the container exists."""
        self.directory = directory.absolute()
        self._wanted_port = port
        self._port_file = self.directory / "port"
        place = hashlib.sha256(str(self.directory).encode()).hexdigest()[:12]
        self._container_name = f"ddor-{self.image.split(':')[0].replace('/', '-')}-{place}"

    @abstractmethod
    def _build(self, port: int) -> DockerContainer:
        """The container, not started."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server serves."""

    @property
    def port(self) -> int:
        """This machine's port for it. Raises PartFailedError if it was never started."""
        try:
            return int(self._port_file.read_text())
        except FileNotFoundError:
            raise PartFailedError(f"{self.name} has never been started in {self.directory}") from None

    def running(self) -> bool:
        """Whether the container runs; paused counts."""
        with self._found() as container:
            return container is not None and container.status in {"running", "paused"}

    def start(self) -> None:
        """Start it and return when it answers. Raises PartFailedError with the tail of its log."""
        try:
            with self._found() as container:
                if container is None:
                    self._create()
                elif container.status == "paused":
                    container.unpause()
                elif container.status != "running":
                    container.start()
            wait_until(self._answers, seconds=_START_SECONDS, what=self.name, alive=self.running)
        except (PartFailedError, OSError) as failure:  # the Docker API's errors are OSErrors
            raise PartFailedError(f"{failure}:\n{self._log_tail()}") from failure

    def stop(self) -> None:
        """End it in an orderly way; killed after 20 s."""
        with self._found() as container:
            if container is not None:
                if container.status == "paused":
                    container.unpause()
                container.stop(timeout=20)

    def kill(self) -> None:
        """SIGKILL to everything in the container."""
        with self._found() as container:
            if container is not None and container.status in {"running", "paused"}:
                container.kill()
                container.wait()

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same data and port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze all its processes."""
        with self._found() as container:
            if container is not None and container.status == "running":
                container.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
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
            # The library's reaper would remove the container when this process ends, which `up` must outlive,
            # and its image is one more to pull. Containers end by `stop` or `destroy`.
            testcontainers_config.ryuk_disabled = True
        built = self._build(port)
        try:
            built.start()
        finally:
            built.get_docker_client().client.close()

    @contextmanager
    def _found(self) -> Iterator[Any]:
        """The container as the Docker client gives it (it has no types), or None if there is none."""
        client = DockerClient().client
        try:
            # Docker takes the name as a regular expression that may match anywhere.
            found = client.containers.list(all=True, filters={"name": f"^/?{self._container_name}$"})
            yield found[0] if found else None
        finally:
            client.close()

    def _log_tail(self) -> str:
        with self._found() as container:
            lines = b"" if container is None else container.logs(tail=20)
        return "\n".join(f"    {line}" for line in lines.decode(errors="replace").splitlines())
