"""A process in the background that a later run of this program can find again and end, and no other."""

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

# The system derives start times from its clock, which can be adjusted by a little while the process runs. No
# system reuses a process id within two seconds.
_START_TIME_TOLERANCE_S = 2.0
_ORPHANS_SECONDS = 5.0
_POLL_S = 0.02

# Children have to be waited for by their parent, whichever object of ours ends them, or they stay as zombies.
_children_of_ours: dict[int, subprocess.Popen[bytes]] = {}


class BackgroundProcess:
    """One process, known by a file that holds its id *and* its start time.

    `pidfile` is written on start and removed on end; `log` takes standard output and error, appended.
    An id that the system has since given to another process is never signalled.
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
        """Start `argv` in a session of its own, so that it outlives us and our terminal.

        `user` and `group` are ids to run as (root only). Raises OSError if it can't be executed.
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
        """The process, if it still runs (a paused one does, a zombie doesn't)."""
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
        """Ask it to end with signal `how`, and kill it after `seconds`. True if it ended by itself."""
        process = self.find()
        if process is not None:
            self.resume()  # a paused process does not hear
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(how)
            if not self._gone_within(seconds):
                self.kill()
                return False
        self.pidfile.unlink(missing_ok=True)
        return True

    def kill(self) -> None:
        """SIGKILL, then wait until the process and its children are gone.

        Children get five seconds to notice by themselves, as PostgreSQL's do, before they are killed too.
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
        """SIGSTOP to the process and its children; nothing if it does not run."""
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """SIGCONT to the process and its children; nothing if it does not run."""
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def _tree(self) -> Iterator[psutil.Process]:
        process = self.find()
        if process is not None:
            yield process  # first, so that a paused parent starts no child behind our back
            yield from _children(process)

    def _gone_within(self, seconds: float) -> bool:
        return _until(lambda: not self.alive(), seconds)


def _collected(pid: int) -> bool:
    """Whether `pid` was a child of ours and has ended."""
    child = _children_of_ours.get(pid)
    if child is None or child.poll() is None:
        return False
    del _children_of_ours[pid]
    return True


def _lives(process: psutil.Process) -> bool:
    # Whoever inherits an orphan may take seconds to collect it; till then it is a zombie that holds nothing.
    # While a program's first thread is a zombie and others are still ending, ports and locks are held.
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
