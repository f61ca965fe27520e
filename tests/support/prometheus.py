"""A Prometheus server that scrapes services on this machine with the project's rules."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml

from deploy.local.errors import log_tail
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.probes import http_ready, wait_until
from deploy.local.process import BackgroundProcess
from deploy.monitoring.rules import PROMETHEUS

_PATH = f"{os.environ.get('PATH', '')}:/usr/local/bin:/usr/local/sbin:/usr/sbin"


class Server(NamedTuple):
    """The API of a running server."""

    client: httpx.Client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query. Fails with Prometheus' message if the expression is wrong."""
        response = self.client.get("/query", params={"query": expression})
        body = response.json()
        assert body["status"] == "success", f"{expression}: {body.get('error')}"
        assert not body.get("warnings"), f"{expression}: {body['warnings']}"
        result: list[dict[str, Any]] = body["data"]["result"]
        return result

    def get(self, path: str) -> Any:
        """The data of another resource of the API."""
        return self.client.get(path).raise_for_status().json()["data"]


def needs(name: str) -> pytest.MarkDecorator:
    """The mark that skips a module's tests, before their fixtures start, if this program is not installed."""
    return pytest.mark.skipif(_found(name) is None, reason=f"{name} is not installed (apt install prometheus)")


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`, in a test that has the mark `needs`."""
    found = _found(name)
    assert found is not None
    return found


def _found(name: str) -> str | None:
    return shutil.which(name, path=_PATH)


@contextmanager
def scraping(directory: Path, targets: Mapping[str, int]) -> Iterator[Server]:
    """Prometheus with the rules of deploy/prometheus and these ports as the targets of its jobs.

    It scrapes and evaluates each second, so that a test need not wait for minutes.
    """
    executable, port = program("prometheus"), free_port()
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    assert {job["job_name"] for job in config["scrape_configs"]} == targets.keys()
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(PROMETHEUS / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"{LOOPBACK}:{targets[job['job_name']]}"]}]
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    process = BackgroundProcess(directory / "prometheus.pid", directory / "prometheus.log")
    process.spawn(
        [
            executable,
            f"--config.file={file}",
            f"--storage.tsdb.path={directory / 'prometheus'}",
            f"--web.listen-address={LOOPBACK}:{port}",
        ],
        cwd=directory,
    )
    try:
        wait_until(lambda: http_ready(port, "/-/ready"), seconds=60, what="Prometheus", alive=process.alive)
        with httpx.Client(base_url=f"http://{LOOPBACK}:{port}/api/v1", trust_env=False, timeout=30) as client:
            yield Server(client)
    except BaseException as error:
        error.add_note(log_tail(process.log))
        raise
    finally:
        process.stop(seconds=20)
