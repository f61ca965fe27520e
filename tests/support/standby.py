"""A hot standby of a native PostgreSQL, made with pg_basebackup."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from deploy.local.postgres_install import Install
from deploy.local.postgres_native import NativePostgres
from deploy.local.private_files import write_private

_OPTIONS = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync")


class Standby(NativePostgres):
    """Follows `primary` until it is promoted. It has the primary's password and databases."""

    def __init__(self, directory: Path, primary: NativePostgres) -> None:
        super().__init__(directory)
        self._primary = primary

    def _initialise(self, install: Install) -> Path:
        home = self._new_home(install)
        uid, gid = (install.account.uid, install.account.gid) if install.account else (None, None)
        try:
            subprocess.run(
                [install.bin / "pg_basebackup", "-D", home / "data", "-d", self._primary.dsn, *_OPTIONS],
                user=uid, group=gid, extra_groups=None if uid is None else [],
                cwd=home, env=os.environ | {"HOME": str(home)}, check=True, capture_output=True, timeout=120,
            )  # fmt: skip
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        write_private(self.directory / "password", (self._primary.directory / "password").read_text())
        (self.directory / "location").write_text(str(home))
        return home / "data"
