"""docs/client-guide.md: each example, run unchanged, does what the page describes. tests/system runs its clients."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import schemas
from deploy.local.service import Service
from tests.support.agencies import LAS_VEGAS, key_of

GUIDE = Path(schemas.__path__[0]).parent / "docs" / "client-guide.md"
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
EVENT, LINES, ATTESTED, SDK = range(4)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for all examples: later ones use the files of earlier ones."""
    return tmp_path_factory.mktemp("guide")


def run(number: int, directory: Path, url: str) -> str:
    """Run an example. Returns its output; it must exit with code 0."""
    language, text = BLOCKS[number]
    if language == "sh" and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    command = ["bash", "-euo", "pipefail", "-c", text] if language == "sh" else [sys.executable, "-c", text]
    own = {"DDOR_INGEST_URL": url, "DDOR_AGENCY": LAS_VEGAS, "DDOR_AGENCY_KEY": key_of(LAS_VEGAS), "NO_PROXY": "*"}
    ended = subprocess.run(
        command, cwd=directory, env={**os.environ, **own}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_all_examples_are_run() -> None:
    assert [language for language, _ in BLOCKS] == ["sh", "sh", "sh", "python"]
    assert len(re.findall(r"^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)) == 2 * len(BLOCKS)


def test_an_event_by_curl_is_stored(ingest: Service, directory: Path) -> None:
    assert json.loads(run(EVENT, directory, ingest.url))["status"] == "accepted"


def test_lines_by_curl_have_receipts_and_a_summary(ingest: Service, directory: Path) -> None:
    *lines, again = run(LINES, directory, ingest.url).splitlines()
    assert [json.loads(line).get("id") for line in lines] == ["2017-01-30/1", "2017-01-30/2", "2017-01-30/3", None]
    assert json.loads(again) == {"summary": {"lines": 3, "accepted": 3, "rejected": 0, "unavailable": 0}}


def test_a_week_is_attested_by_curl(ingest: Service, directory: Path) -> None:
    receipt = json.loads(run(ATTESTED, directory, ingest.url))
    assert (receipt["status"], receipt["topic"]) == ("accepted", "week-attested")


def test_the_sdk_sends_in_both_modes(ingest: Service, directory: Path) -> None:
    printed = run(SDK, directory, ingest.url).splitlines()
    assert [line.split()[0] for line in printed] == ["202", "202"]
    assert all("'status': 'accepted'" in line for line in printed)
