"""The Nu HTML checker, the W3C's validator of HTML, CSS and SVG: jars from Maven, as for Kafka."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from deploy.local.kafka_jars import QUICK_START
from deploy.local.maven_jars import MavenJars

_VERSION = "26.5.2"
_JARS = MavenJars(
    "the Nu HTML checker", Path(__file__).with_name("nu_pom.xml"), f"nu-checker-{_VERSION}", java=11, size="32 MB"
)
_MAIN = "nu.validator.client.SimpleCommandLineValidator"
_STACK = "-Xss4m"  # the default is too small for its schema of HTML


def missing() -> list[str]:
    """What to install before this machine can run the checker, one sentence each."""
    return _JARS.missing()


def findings(pages: Iterable[Path]) -> list[str]:
    """All errors and warnings of HTML files, with file name and line. Raises as `MavenJars.ensure`."""
    files = [str(page) for page in pages]
    command = _JARS.java_command(
        *QUICK_START, _STACK, _MAIN, "--format", "json", "--stdout", "--exit-zero-always", *files
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return [
        f"{Path(one['url']).name}, line {one.get('lastLine', '?')}: {one['message']} {one.get('extract', '').strip()!r}"
        for one in json.loads(done.stdout)["messages"]
    ]
