"""deploy.local.process: find and stop a process, but never another one with its id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.probes import wait_until
from deploy.local.process import BackgroundProcess

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]
PARENT = [
    sys.executable,
    "-c",
    f"import subprocess; subprocess.Popen({SLEEP!r}); print('born', flush=True); import time; time.sleep(60)",
]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[BackgroundProcess]:
    process = BackgroundProcess(tmp_path / "run" / "pid", tmp_path / "logs" / "log")
    yield process
    process.kill()


@pytest.fixture
def bystander() -> Iterator[psutil.Process]:
    """A process that must not be stopped."""
    with subprocess.Popen(SLEEP) as child:
        yield psutil.Process(child.pid)
        child.kill()


def test_a_recycled_pid_is_never_signalled(process: BackgroundProcess, bystander: psutil.Process) -> None:
    process.pidfile.parent.mkdir()
    process.pidfile.write_text(json.dumps({"pid": bystander.pid, "started": bystander.create_time() - 3600}))
    assert not process.alive()
    process.pause()
    assert process.stop()
    process.kill()
    assert bystander.status() not in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    assert not process.pidfile.exists()


@pytest.mark.parametrize("content", ["", "12", "{}", '{"pid": "x", "started": 1}', '{"pid": 1}', "null"])
def test_a_damaged_pidfile_is_no_process(process: BackgroundProcess, content: str) -> None:
    process.pidfile.parent.mkdir()
    process.pidfile.write_text(content)
    assert not process.alive()
    assert process.stop()


def test_another_object_on_the_same_pidfile_finds_and_ends_it(process: BackgroundProcess) -> None:
    process.spawn(SLEEP)
    again = BackgroundProcess(process.pidfile, process.log)
    assert again.find() == process.find()
    assert again.stop()
    assert not process.alive()


def test_the_pidfile_is_private_and_the_process_leads_a_session(process: BackgroundProcess) -> None:
    process.spawn(SLEEP)
    found = process.find()
    assert found is not None
    assert os.getsid(found.pid) == found.pid
    assert process.pidfile.stat().st_mode & 0o777 == 0o600


def test_a_paused_process_is_alive_and_can_be_stopped(process: BackgroundProcess) -> None:
    process.spawn(SLEEP)
    process.pause()
    found = process.find()
    assert found is not None
    wait_until(lambda: found.status() == psutil.STATUS_STOPPED, seconds=60, what="a paused process")
    assert process.alive()
    assert process.stop(seconds=60)


def test_a_process_that_ignores_sigterm_is_killed_after_the_timeout(process: BackgroundProcess) -> None:
    process.spawn(STUBBORN)
    wait_until(lambda: "deaf" in process.log.read_text(), seconds=60, what="a process that ignores SIGTERM")
    assert not process.stop(signal.SIGTERM, seconds=0.2)
    assert not process.alive()


def test_kill_includes_the_children(process: BackgroundProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.process._ORPHANS_SECONDS", 0.1)
    process.spawn(PARENT)
    wait_until(lambda: "born" in process.log.read_text(), seconds=60, what="a child")
    found = process.find()
    assert found is not None
    (child,) = found.children()
    process.kill()
    wait_until(
        lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, seconds=60, what="the child's end"
    )


def test_a_program_that_exited_is_not_alive(process: BackgroundProcess) -> None:
    process.spawn([sys.executable, "-c", "print('output')"])
    wait_until(lambda: not process.alive(), seconds=60, what="its end")
    assert process.log.read_text() == "output\n"
