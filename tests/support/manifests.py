"""The documents of deploy/k8s: the files of the base, and the overlays as kustomize renders them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

K8S = Path(__file__).parents[2] / "deploy" / "k8s"
OVERLAYS = ("existing", "cluster")
COMPONENTS = tuple(sorted(path.name for path in (K8S / "components").iterdir()))
BASE = "base files"
ALL = " with all components"
RENDERED = (*OVERLAYS, *(name + ALL for name in OVERLAYS))
_OLDEST = 5
"""Kustomize 4 and older have no labels in templates."""

Document = dict[str, Any]


def base_files() -> list[Document]:
    """The documents of the base as written, without what kustomize adds (names, labels, tags, settings)."""
    paths = sorted(path for path in (K8S / "base").glob("*.yaml") if path.name != "kustomization.yaml")
    return [one for path in paths for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def documents(name: str) -> list[Document]:
    """`BASE`, or an overlay, or an overlay with `ALL`. Skips the test if no kustomize can render it."""
    return base_files() if name == BASE else _rendered(name)


def pods(found: Sequence[Document]) -> dict[str, Document]:
    """The pod templates of Deployments and Jobs, by name."""
    return {one["metadata"]["name"]: one["spec"]["template"] for one in found if one["kind"] in ("Deployment", "Job")}


def of_kind(found: Sequence[Document], kind: str) -> dict[str, Document]:
    """The documents of a kind, by name."""
    return {one["metadata"]["name"]: one for one in found if one["kind"] == kind}


def container(pod: Document) -> Document:
    """The container of a pod that has one."""
    (only,) = pod["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def render(directory: Path) -> list[Document]:
    """The documents of a directory with a kustomization. Skips the test if no kustomize can render it."""
    command = _kustomize()
    if command is None:
        pytest.skip(f"neither kustomize nor kubectl with kustomize {_OLDEST} or newer is installed: not rendered")
    done = subprocess.run([*command, str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"warnings of kustomize: {done.stderr}"
    return [one for one in yaml.safe_load_all(done.stdout) if one]


@cache
def _rendered(name: str) -> list[Document]:
    overlay = K8S / "overlays" / name.removesuffix(ALL)
    if not name.endswith(ALL):
        return render(overlay)
    with tempfile.TemporaryDirectory() as directory:
        # The overlay has some components already, and each may be applied once.
        own = yaml.safe_load((overlay / "kustomization.yaml").read_text(encoding="utf-8"))["components"]
        more = [K8S / "components" / one for one in COMPONENTS if f"../../components/{one}" not in own]
        combined = {
            "resources": [os.path.relpath(overlay, Path(directory).resolve())],
            "components": [os.path.relpath(one, Path(directory).resolve()) for one in more],
        }
        (Path(directory) / "kustomization.yaml").write_text(yaml.safe_dump(combined), encoding="utf-8")
        return render(Path(directory))


@cache
def _kustomize() -> tuple[str, ...] | None:
    return next((command for command, version in _candidates() if version >= _OLDEST), None)


def _candidates() -> Iterator[tuple[tuple[str, ...], int]]:
    """Each program that can render, with the major version of its kustomize."""
    if shutil.which("kustomize"):
        yield ("kustomize", "build"), _major(_text("kustomize", "version"))
    if shutil.which("kubectl"):
        try:
            versions = json.loads(_text("kubectl", "version", "--client", "--output=json"))
        except ValueError:
            return
        yield ("kubectl", "kustomize"), _major(versions.get("kustomizeVersion", ""))


def _text(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _major(version: str) -> int:
    found = re.search(r"v(\d+)\.", version)
    return int(found[1]) if found else 0
