"""Test a service against its OpenAPI document: schemathesis sends valid and invalid requests.

Fails on a 5xx status, on a status, header, media type or body that is not in the document, and if the service accepts
an invalid request, a method that is not in the document, or a request without a key.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from hypothesis import settings

_CONFIG = Path(__file__).with_name("schemathesis.toml")
_ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks",
    "NO_PROXY": "*",
}
_A_TENTH = 10
"""Each example is a request, which costs more than an example of a unit test."""
_SECONDS = 300


async def assert_as_described(url: str, *headers: str, scratch: Path) -> str:
    """Compare the service at `url` with its /openapi.json. Returns the report, which contains the differences."""
    examples = str(settings().max_examples // _A_TENTH)
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(_CONFIG), "run", f"{url}/openapi.json",
        "--phases", "examples,coverage,fuzzing", "--max-examples", examples, "--seed", "1",
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
