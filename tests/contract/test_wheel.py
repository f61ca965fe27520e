"""The wheel, and so the image, contains the services, the schemas and the SQL files, but no development tools."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import schemas

ROOT = Path(schemas.__path__[0]).parent
_BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of a wheel built from a copy of the sources: a build writes next to them."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    for package in ("schemas", "services", "deploy"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-c", _BUILD, target], cwd=source, capture_output=True, check=True, timeout=120)
    [wheel] = target.glob("*.whl")
    return {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_only_the_migrations_and_roles_of_deploy_are_installed(names: set[str]) -> None:
    migrations = {f"deploy/migrations/{path.name}" for path in (ROOT / "deploy/migrations").glob("*.sql")}
    assert migrations
    assert {name for name in names if name.startswith("deploy/")} == {
        "deploy/__init__.py",
        "deploy/roles.sql",
        "deploy/migrations/__init__.py",
        "deploy/migrations/locks.toml",
        *migrations,
    }


def test_only_the_three_packages_are_installed(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} == {"schemas", "services", "deploy"}


@pytest.mark.parametrize("pattern", ["*.py", "*.sql", "*.csv", "*.html", "*.css"])
def test_all_files_of_the_services_and_schemas_are_installed(names: set[str], pattern: str) -> None:
    for package in ("schemas", "services"):
        expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob(pattern)}
        assert expected <= names


def test_the_readme_of_the_data_package_is_installed(names: set[str]) -> None:
    assert "services/publisher/site/data_package.md" in names


def test_the_image_copies_nothing_else_of_deploy() -> None:
    copied = [
        name
        for line in (ROOT / "deploy/Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    ]
    assert [name for name in copied if name.startswith("deploy")] == [
        "deploy/__init__.py",
        "deploy/roles.sql",
        "deploy/migrations",
    ]
