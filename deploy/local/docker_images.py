"""Whether Docker can run an image on this machine. The checks have short timeouts; a timeout counts as no."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from functools import cache

KAFKA_IMAGE = "apache/kafka:4.3.1"
POSTGRES_IMAGE = "postgres:18"

_LOCAL_SECONDS = 3.0
_REGISTRY_SECONDS = 6.0


def missing(image: str) -> list[str]:
    """What to install before testcontainers can run `image`, one sentence each."""
    docker = shutil.which("docker")
    if docker is None:
        return ["Docker is not on PATH: install it and start its daemon."]
    if not _succeeds(docker, "version", "--format", "{{.Server.Version}}", seconds=_LOCAL_SECONDS):
        return ["The Docker daemon does not respond: start it, or give this user access to it."]
    sentences = []
    if importlib.util.find_spec("testcontainers") is None:
        sentences.append("The Python package testcontainers is missing: pip install -r requirements/dev.txt.")
    if not (_present(docker, image) or _in_registry(docker, image)):
        sentences.append(f"The image {image} is not on this machine and cannot be pulled: docker pull {image}.")
    return sentences


def _present(docker: str, image: str) -> bool:
    return _succeeds(docker, "image", "inspect", image, seconds=_LOCAL_SECONDS)


# Cached: a registry that does not respond costs seconds on each call.
@cache
def _in_registry(docker: str, image: str) -> bool:
    return _succeeds(docker, "manifest", "inspect", image, seconds=_REGISTRY_SECONDS)


def _succeeds(*command: str, seconds: float) -> bool:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
