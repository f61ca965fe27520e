"""pgbouncer in front of a PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import pytest

from deploy.local.ports import free_port, is_free
from deploy.local.probes import wait_until

Mode = Literal["session", "transaction", "statement"]


def _program() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("pgbouncer is not installed")
    return found


@contextmanager
def pooled(dsn: str, mode: Mode, *lines: str) -> Iterator[str]:
    """The DSN of the database through a pgbouncer in this mode. `lines` are additional settings."""
    program, address = _program(), urlsplit(dsn)
    port = free_port()
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # it does not run as root
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as directory:
        users, settings = Path(directory, "users.txt"), Path(directory, "pgbouncer.ini")
        users.write_text(f'"{address.username}" "{unquote(address.password or "")}"\n')
        settings.write_text(
            "\n".join(
                (
                    f"[databases]\n* = host={address.hostname} port={address.port}",
                    f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =",
                    f"auth_type = scram-sha-256\nauth_file = {users}\npool_mode = {mode}",
                    *lines,
                    "",
                )
            )
        )
        for path in (Path(directory), users, settings):
            os.chown(path, *((account.pw_uid, account.pw_gid) if account else (-1, -1)))
        process = subprocess.Popen(
            [program, "-q", str(settings)],
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: not is_free(port), seconds=30, what="pgbouncer", alive=lambda: process.poll() is None)
            yield dsn.replace(f":{address.port}/", f":{port}/")
        finally:
            process.terminate()
            process.wait(10)
