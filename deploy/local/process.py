"""A background process that a later run of this program can find and stop."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from deploy.local.private_files import write_private

# The system derives start times from its clock, which can be adjusted slightly while the process runs. No system
# reuses a process id within two seconds.
_START_TIME_TOLERANCE_S = 2.0
_ORPHANS_SECONDS = 5.0
_POLL_S = 0.02

# The parent must wait for its children, whichever object stops them; otherwise they stay as zombies.
_children_of_ours: dict[int, subprocess.Popen[bytes]] = {}


class BackgroundProcess:
    """One process, identified by a file with its id *and* start time.

    `pidfile` is written at the start and removed at the end. Standard output and error are appended to `log`. If the
    system has reused the id for another process, that process gets no signal.
    """

    def __init__(self, pidfile: Path, log: Path) -> None:
        self.pidfile = pidfile
        self.log = log

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
        group: int | None = None,
    ) -> None:
        """Start `argv` in a new session, so that it outlives this process and the terminal.

        `user` and `group` are ids to run as (root only). Raises OSError if it cannot be executed.
        """
        for pid in list(_children_of_ours):
            _collected(pid)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                cwd=cwd,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
                start_new_session=True,
            )
        _children_of_ours[child.pid] = child
        started = psutil.Process(child.pid).create_time()
        write_private(self.pidfile, json.dumps({"pid": child.pid, "started": started}))

    def find(self) -> psutil.Process | None:
        """The process if it runs, else None. A paused process counts as running, a zombie does not."""
        try:
            recorded = json.loads(self.pidfile.read_text())
            process = psutil.Process(recorded["pid"])
            same = abs(process.create_time() - recorded["started"]) <= _START_TIME_TOLERANCE_S
            return process if same and not _collected(process.pid) and _lives(process) else None
        except (FileNotFoundError, ValueError, KeyError, TypeError, psutil.Error):
            return None

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.find() is not None

    def stop(self, how: signal.Signals = signal.SIGTERM, *, seconds: float = 20.0) -> bool:
        """Send the signal `how`, and SIGKILL after `seconds`. Returns whether SIGKILL was not needed."""
        process = self.find()
        if process is not None:
            self.resume()  # a paused process does not handle signals
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(how)
            if not self._gone_within(seconds):
                self.kill()
                return False
        self.pidfile.unlink(missing_ok=True)
        return True

    def kill(self) -> None:
        """SIGKILL, then wait until the process and its children are gone.

        Children get five seconds to exit, as PostgreSQL's do, before they are killed.
        """
        process = self.find()
        if process is not None:
            children = _children(process)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
            self._gone_within(10)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.resume()
            _until(lambda: not any(_lives(child) for child in children), _ORPHANS_SECONDS)
            for orphan in filter(_lives, children):
                with contextlib.suppress(psutil.NoSuchProcess):
                    orphan.kill()
        self.pidfile.unlink(missing_ok=True)

    def pause(self) -> None:
        """SIGSTOP the process and its children. No effect if it does not run."""
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """SIGCONT the process and its children. No effect if it does not run."""
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def _tree(self) -> Iterator[psutil.Process]:
        process = self.find()
        if process is not None:
            yield process  # the parent first, so that it cannot start another child
            yield from _children(process)

    def _gone_within(self, seconds: float) -> bool:
        return _until(lambda: not self.alive(), seconds)


def _collected(pid: int) -> bool:
    """Whether `pid` is a child of this process that has exited."""
    child = _children_of_ours.get(pid)
    if child is None or child.poll() is None:
        return False
    del _children_of_ours[pid]
    return True


def _lives(process: psutil.Process) -> bool:
    # An orphan may stay a zombie for seconds; a zombie has no ports or locks. But while the main thread is a zombie
    # and other threads still run, the process has them.
    try:
        if not process.is_running():
            return False
        return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except psutil.NoSuchProcess:
        return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
