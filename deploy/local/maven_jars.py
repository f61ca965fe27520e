"""Jars from Maven, downloaded once for all processes of the user."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deploy.local.errors import PartFailedError, PartUnavailableError
from deploy.local.private_files import locked

_DOWNLOAD_SECONDS = 600


def cache_directory() -> Path:
    """The directory for downloads: DDOR_CACHE, else `ddor` in the user's cache directory."""
    named = os.environ.get("DDOR_CACHE")
    if named:
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ddor"


def java_version() -> int | None:
    """The major version of `java` on PATH, or None if there is no working one."""
    java = shutil.which("java")
    return None if java is None else _java_version(java)


@cache
def _java_version(java: str) -> int | None:
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(\d+)(?:\.(\d+))?', done.stderr)
    if found is None:
        return None
    # Java 8 and older report 1.8.
    return int(found[2]) if found[1] == "1" and found[2] else int(found[1])


@dataclass(frozen=True, slots=True)
class MavenJars:
    """The runtime dependencies of a pom, in a directory of the cache."""

    title: str
    """The program in messages, such as `Kafka 4.3.1`."""
    pom: Path
    directory: str
    """The name of the directory."""
    java: int
    """The oldest major version of Java that runs the program."""
    size: str
    """The size of the download, such as `40 MB`."""

    def missing(self) -> list[str]:
        """What to install before this machine can run the program, one sentence each."""
        sentences = []
        version = java_version()
        if version is None:
            sentences.append(f"Java is not on PATH: install a Java {self.java} or later (a JRE is enough).")
        elif version < self.java:
            sentences.append(f"Java {version} is too old for {self.title}: install {self.java} or later.")
        if not self._is_complete() and shutil.which("mvn") is None:
            sentences.append(f"Maven (mvn) is not on PATH: install it; it downloads {self.title} once ({self.size}).")
        return sentences

    def ensure(self) -> Path:
        """The directory with the jars, which Maven downloads if necessary.

        Raises PartUnavailableError if Maven or Java is missing, PartFailedError if Maven fails.
        """
        target = self._target
        if self._is_complete():
            return target
        with locked(target.with_name(target.name + ".lock")):
            if self._is_complete():  # another process has downloaded them meanwhile
                return target
            sentences = self.missing()
            if sentences:
                raise PartUnavailableError(" ".join(sentences))
            work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
            try:
                self._download(work)
                shutil.copyfile(self.pom, work / self.pom.name)
                shutil.rmtree(target, ignore_errors=True)
                work.rename(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return target

    def java_command(self, *arguments: str) -> list[str]:
        """The command line of `java` with these arguments and the jars as its class path. Raises as `ensure`."""
        jars = self.ensure()
        java = shutil.which("java")
        if java is None:
            raise PartUnavailableError(" ".join(self.missing()))
        return [java, "-cp", f"{jars}/*", *arguments]

    @property
    def _target(self) -> Path:
        return cache_directory() / self.directory

    def _is_complete(self) -> bool:
        """Whether the jars match the current pom. The pom is copied there last."""
        try:
            return (self._target / self.pom.name).read_bytes() == self.pom.read_bytes()
        except OSError:
            return False

    def _download(self, work: Path) -> None:
        command = ["mvn", "-B", "-q", "-f", str(self.pom), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={work}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise PartFailedError(f"Maven did not download {self.title} within {_DOWNLOAD_SECONDS} s") from None
        if done.returncode != 0:
            last = "\n".join(done.stdout.splitlines()[-15:])
            raise PartFailedError(f"Maven could not download {self.title}:\n{last}")
