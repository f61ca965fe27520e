"""The directory of a copy: replaces files atomically, and never deletes or replaces a file that it did not write."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from services.publisher.static_site import manifest
from services.publisher.static_site.manifest import Entry
from services.runtime.errors import CallerError

_TEMPORARY = ".ddor-site.tmp"


class DirectoryRefusedError(CallerError):
    """Another program's files are in the way, or another run writes to the directory."""


class Directory:
    """The files of a copy. Use `opened`."""

    def __init__(self, path: Path, renderer: str, earlier: dict[str, Entry], log: IO[bytes], *, force: bool) -> None:
        self.earlier: Mapping[str, Entry] = earlier
        """The files that the last run wrote, also if it was killed."""
        self._path, self._renderer, self._log, self._force = path, renderer, log, force
        self._ours = dict(earlier)
        self.files: dict[str, Entry] = {}
        """The files of this run so far."""

    def is_intact(self, file: str) -> bool:
        """Whether the file has the bytes that the last run wrote."""
        try:
            content = (self._path / file).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return False
        return hashlib.sha256(content).hexdigest() == self._ours[file].sha256

    def keep(self, file: str, entry: Entry) -> None:
        """The file is part of the copy, with its present bytes."""
        if self._ours[file] != entry:
            self._record(file, entry)
        self.files[file] = entry

    def write(self, file: str, content: bytes, entry: Entry) -> bool:
        """Make `content` the bytes of a file. Returns whether they were others.

        Raises DirectoryRefusedError if the file is another program's, and OSError.
        """
        earlier = self._ours.get(file)
        if earlier is not None and earlier.sha256 == entry.sha256 and self.is_intact(file):
            self.keep(file, entry)
            return False
        path = self._path / file
        self._check(file, path)
        self._record(file, entry)  # before the file: after a crash it is not taken for that of another program
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(self._path, path, content)
        self.files[file] = entry
        return True

    def finish(self) -> int:
        """Delete the files of earlier runs that this one has not written. Returns their number."""
        gone = [file for file in self._ours if file not in self.files]
        removed = sum(self._remove(file) for file in gone)
        _replace(self._path, self._path / manifest.NAME, manifest.dump(self._renderer, self.files))
        return removed

    def _remove(self, file: str) -> bool:
        """Delete a file, unless another program has changed it, and directories that are empty then."""
        if not self._is_within(self._path / file) or not self.is_intact(file):
            return False
        path = self._path / file
        path.unlink()
        with suppress(OSError):  # not empty
            for parent in path.relative_to(self._path).parents[:-1]:
                (self._path / parent).rmdir()
        return True

    def _check(self, file: str, path: Path) -> None:
        if not self._is_within(path):
            raise DirectoryRefusedError(f"{path.parent} leads out of {self._path}: remove this link")
        if path.is_dir() or (file not in self._ours and not self._force and os.path.lexists(path)):
            raise DirectoryRefusedError(f"{path} was not written by this command: move it away, or add --force")

    def _is_within(self, path: Path) -> bool:
        return path.parent.resolve().is_relative_to(self._path)

    def _record(self, file: str, entry: Entry) -> None:
        self._log.write(manifest.line(file, entry))
        self._log.flush()
        self._ours[file] = entry


@contextmanager
def opened(path: Path, renderer: str, *, force: bool = False) -> Iterator[Directory]:
    """Use a directory for a copy; create it if there is none. Raises DirectoryRefusedError, DamagedManifestError.

    `force`: also use a directory that has other files, and replace those with the names of the copy.
    """
    path.mkdir(parents=True, exist_ok=True)
    path = path.resolve()
    with _locked(path):
        earlier = _earlier(path, renderer, force=force)
        try:
            _replace(path, path / manifest.NAME, manifest.dump(renderer, earlier))
            with (path / manifest.NAME).open("ab") as log:
                yield Directory(path, renderer, earlier, log, force=force)
        finally:
            with suppress(OSError):
                (path / _TEMPORARY).unlink()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock a directory. Raises DirectoryRefusedError if another run has locked it."""
    lock = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryRefusedError(f"another run of this command writes to {path}: wait for its end") from None
        except OSError:
            pass  # some network file systems have no locks
        yield
    finally:
        os.close(lock)


def _earlier(path: Path, renderer: str, *, force: bool) -> dict[str, Entry]:
    try:
        return manifest.load((path / manifest.NAME).read_bytes(), renderer)
    except FileNotFoundError:
        pass
    if not force and any(one.name != _TEMPORARY for one in path.iterdir()):
        raise DirectoryRefusedError(
            f"{path} has files, and no earlier run of this command wrote them: choose an empty directory, or add"
            " --force to keep them and to replace those with the names of the site"
        )
    return {}


def _replace(root: Path, path: Path, content: bytes) -> None:
    """Replace a file in one step: readers see the old or the new bytes. Raises OSError with the name of the file."""
    temporary = root / _TEMPORARY
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
