"""A served OpenAPI document held against its service: schemathesis sends what it allows and what it does not.

Fails on a 5xx, a status, header, media type or body that the document does not have, on what breaks the schema and is
accepted all the same, on a method that is not there and is answered, and on a request without a key that is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

_CONFIG = Path(__file__).with_name("schemathesis.toml")
_ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks",
    "NO_PROXY": "*",
}
_EXAMPLES = 50
_SECONDS = 300


async def assert_as_described(url: str, *headers: str, scratch: Path) -> str:
    """Compare the service at `url` with its /openapi.json; answers the report, which is the error when it differs."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(_CONFIG), "run", f"{url}/openapi.json",
        "--phases", "examples,coverage,fuzzing", "--max-examples", str(_EXAMPLES), "--seed", "1",
        "--generation-database", "none", "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    for header in headers:
        command += ["--header", header]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=scratch,
        env=os.environ | _ENVIRONMENT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
    report = output.decode()
    assert process.returncode == 0, report
    return report
