"""Apache Kafka's jars from Maven, and the Java command lines that use them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploy.local.maven_jars import MavenJars

KAFKA_VERSION = "4.3.1"

_HERE = Path(__file__).parent
_LOGGING = _HERE / "kafka-log4j2.xml"
_JARS = MavenJars(f"Kafka {KAFKA_VERSION}", _HERE / "kafka-pom.xml", f"kafka-{KAFKA_VERSION}", java=17, size="40 MB")


def missing() -> list[str]:
    """What to install before this machine can run Kafka natively, one sentence each."""
    return _JARS.missing()


def ensure_jars() -> Path:
    """The directory with Kafka's jars, which Maven downloads if necessary. Raises as `MavenJars.ensure`."""
    return _JARS.ensure()


def java_command(main: str, *arguments: str, options: Sequence[str] = (), log_level: str = "INFO") -> list[str]:
    """The command line that runs Kafka's class `main` with `arguments`. `options` are for the JVM.

    Downloads the jars if necessary. Raises as `MavenJars.ensure`.
    """
    logging = [f"-Dlog4j2.configurationFile={_LOGGING}", f"-Dddor.log.level={log_level}"]
    return _JARS.java_command(*options, *logging, main, *arguments)


# For short-lived JVMs, optimized compilation costs more time than it saves.
QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
