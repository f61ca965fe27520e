"""Apache Kafka's jars from Maven, and the Java command lines that use them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from deploy.local.errors import PartFailedError, PartUnavailableError
from deploy.local.private_files import locked

KAFKA_VERSION = "4.3.1"
JAVA_AT_LEAST = 17

_HERE = Path(__file__).parent
_POM = _HERE / "kafka-pom.xml"
_LOGGING = _HERE / "kafka-log4j2.xml"
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


def missing() -> list[str]:
    """What to install before this machine can run Kafka natively, one sentence each."""
    sentences = []
    version = java_version()
    if version is None:
        sentences.append(f"Java is not on PATH: install a Java {JAVA_AT_LEAST} or later (a JRE is enough).")
    elif version < JAVA_AT_LEAST:
        sentences.append(f"Java {version} is too old for Kafka {KAFKA_VERSION}: install {JAVA_AT_LEAST} or later.")
    if not _complete(_jar_directory()) and shutil.which("mvn") is None:
        sentences.append("Maven (mvn) is not on PATH: install it; it downloads Kafka's jars once (40 MB).")
    return sentences


def ensure_jars() -> Path:
    """The directory with Kafka's jars. Maven downloads them once for all processes of the user.

    Raises PartUnavailableError if Maven or Java is missing, PartFailedError if Maven fails.
    """
    target = _jar_directory()
    if _complete(target):
        return target
    with locked(target.with_name(target.name + ".lock")):
        if _complete(target):  # another process has downloaded them meanwhile
            return target
        sentences = missing()
        if sentences:
            raise PartUnavailableError(" ".join(sentences))
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            _download(work)
            shutil.copyfile(_POM, work / _POM.name)
            shutil.rmtree(target, ignore_errors=True)
            work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


def _jar_directory() -> Path:
    return cache_directory() / f"kafka-{KAFKA_VERSION}"


def _complete(directory: Path) -> bool:
    """Whether the jars match the current pom. The pom is copied there last."""
    try:
        return (directory / _POM.name).read_bytes() == _POM.read_bytes()
    except OSError:
        return False


def _download(work: Path) -> None:
    command = ["mvn", "-B", "-q", "-f", str(_POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={work}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise PartFailedError(f"Maven did not download Kafka within {_DOWNLOAD_SECONDS} s") from None
    if done.returncode != 0:
        raise PartFailedError("Maven could not download Kafka:\n" + "\n".join(done.stdout.splitlines()[-15:]))


def java_command(main: str, *arguments: str, options: Sequence[str] = (), log_level: str = "INFO") -> list[str]:
    """The command line that runs Kafka's class `main` with `arguments`. `options` are for the JVM.

    Downloads the jars if necessary. Raises the errors of `ensure_jars`.
    """
    jars = ensure_jars()
    java = shutil.which("java")
    if java is None:
        raise PartUnavailableError(" ".join(missing()))
    logging = [f"-Dlog4j2.configurationFile={_LOGGING}", f"-Dddor.log.level={log_level}"]
    return [java, *options, *logging, "-cp", f"{jars}/*", main, *arguments]


# For short-lived JVMs, optimized compilation costs more time than it saves.
QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
