"""Content that is loaded from files again when they change."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from services.runtime.errors import ConfigurationError
from services.runtime.logs import get

log = get(__name__)

_T = TypeVar("_T")
Stamp: TypeAlias = tuple[int, ...]


class Reloaded(Generic[_T]):
    """`current` is the content that was last loaded without an error."""

    def __init__(self, what: str, files: Sequence[Path], load: Callable[[], _T]) -> None:
        """Load `what`, a name for logs, with `load`. Raises its ConfigurationError."""
        self._what = what
        self._files = tuple(files)
        self._load = load
        self._stamp = self._stamped()
        self.current = load()

    def refresh(self) -> bool:
        """Load again if a file has changed since the last attempt. Returns whether `current` is new.

        Files that cannot be used are logged once for each change, and the previous content stays. Reads files, so that
        it may block.
        """
        found = self._stamped()
        if found == self._stamp:
            return False
        self._stamp = found  # from before the files are read: a later change is a change again
        try:
            self.current = self._load()
        except ConfigurationError as error:
            reason = f"{error}; the previous one stays in use"
            log.error("certificate-refused", what=self._what, reason=reason)  # noqa: TRY400  # one line, no traceback
            return False
        log.info("certificate-reloaded", what=self._what)
        return True

    def _stamped(self) -> tuple[Stamp | None, ...]:
        return tuple(stamp(file) for file in self._files)


def stamp(file: Path) -> Stamp | None:
    """Changes with each change of the file or of a symbolic link to it. None if the file does not exist."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
