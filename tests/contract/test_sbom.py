"""`make sbom` lists exactly the pinned runtime packages, with their hashes."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]
_PIN = re.compile(r"^([\w.-]+)(?:\[[^\]]*\])?==(\S+)(.*)$", re.MULTILINE)


def _written(path: Path) -> bytes:
    """The file that the target writes. Runs its recipe with this Python; `make` itself might install packages."""
    text = (_ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    [recipe] = re.findall(r"^\t@\$\(BIN\)/python (.*cyclonedx_py.*)$", text, re.MULTILINE)
    arguments = shlex.split(recipe.replace("$(SBOM)", str(path)).replace("$(REQUIREMENTS)", "runtime"))
    subprocess.run([sys.executable, *arguments], cwd=_ROOT, check=True, capture_output=True, timeout=120)
    return path.read_bytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return _written(tmp_path_factory.mktemp("sbom") / "sbom.json")


def _pinned() -> dict[str, tuple[str, set[str]]]:
    """Version and hashes of each package in the requirements."""
    text = (_ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    return {
        name: (version, set(re.findall(r"sha256:([0-9a-f]{64})", rest))) for name, version, rest in _PIN.findall(text)
    }


def _listed(one: dict[str, Any]) -> tuple[str, set[str]]:
    hashes = {item["content"] for reference in one["externalReferences"] for item in reference.get("hashes", ())}
    return one["version"], hashes


def test_it_lists_each_pinned_package_with_its_hashes_and_no_other(written: bytes) -> None:
    document = json.loads(written)
    assert (document["bomFormat"], document["metadata"]["component"]["name"]) == ("CycloneDX", "weekly-detainer-report")
    pinned = _pinned()
    assert len(pinned) > 30
    assert {one["name"]: _listed(one) for one in document["components"]} == pinned
    assert all(one["purl"].startswith(f"pkg:pypi/{one['name']}@{one['version']}") for one in document["components"])


def test_the_same_requirements_give_the_same_bytes(written: bytes, tmp_path: Path) -> None:
    assert _written(tmp_path / "again.json") == written
