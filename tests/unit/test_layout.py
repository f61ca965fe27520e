"""Layout of the source: allowed imports, and file names to avoid."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import schemas

ROOT = Path(schemas.__path__[0]).parent
PACKAGES = ("schemas", "services", "deploy")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SERVICES = ("ingest", "aggregator", "publisher")
NAMES_OF_NOTHING = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "misc", "base"}
INPUT_AND_OUTPUT = {
    "aiokafka",
    "asyncio",
    "asyncpg",
    "faststream",
    "httpx",
    "os",
    "requests",
    "socket",
    "starlette",
    "subprocess",
    "time",
    "urllib",
    "uvicorn",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """The full name of each module that a file imports, wherever in it; `from a import b` gives a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def of(package: str) -> list[Path]:
    return [path for path in FILES if relative(path).startswith(f"{package}/")]


def test_the_source_files_are_found() -> None:
    assert all(len(of(package)) > 5 for package in PACKAGES)
    assert all(of(f"services/{service}") for service in SERVICES)


@pytest.mark.parametrize("path", of("schemas"), ids=relative)
def test_schemas_import_no_service_and_do_no_input_or_output(path: Path) -> None:
    for name in imported(path):
        assert not within(name, "services", "deploy", "tests"), name
        assert name.partition(".")[0] not in INPUT_AND_OUTPUT, name


@pytest.mark.parametrize("path", [path for service in SERVICES for path in of(f"services/{service}")], ids=relative)
def test_a_service_imports_the_runtime_and_no_other_service(path: Path) -> None:
    own = relative(path).split("/")[1]
    for name in imported(path):
        if within(name, "services"):
            assert within(name, f"services.{own}", "services.runtime"), name


@pytest.mark.parametrize("path", of("services/runtime"), ids=relative)
def test_the_runtime_imports_no_service(path: Path) -> None:
    for name in imported(path):
        assert not within(name, "services") or within(name, "services.runtime"), name


@pytest.mark.parametrize("path", of("services"), ids=relative)
def test_no_service_and_no_command_imports_deploy(path: Path) -> None:
    """deploy.local and deploy.demo may import services; the reverse would be a cycle."""
    assert not [name for name in imported(path) if within(name, "deploy", "tests")]


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_installed_packages_do_not_import_the_tests(path: Path) -> None:
    assert not [name for name in imported(path) if within(name, "tests", "pytest", "hypothesis")]


PURE = {
    "services/importer/amending.py",
    "services/importer/ice_detainers/identity.py",
    "services/importer/ice_detainers/layouts.py",
    "services/importer/ice_detainers/meaning.py",
    "services/importer/ice_values.py",
    "services/ingest/intake.py",
    "services/ingest/receipts.py",
    "services/aggregator/leases.py",
    "services/aggregator/batch_size.py",
    "services/aggregator/spans.py",
    "services/aggregator/decoding.py",
    "services/publisher/closing.py",
    "services/publisher/desk/access.py",
    "services/publisher/desk/commands.py",
    "services/publisher/desk/contents.py",
    "services/publisher/desk/findings.py",
    "services/publisher/desk/page.py",
    "services/publisher/desk/state.py",
    "services/publisher/desk/waiting.py",
    "services/publisher/gates.py",
    "services/publisher/line_list.py",
    "services/publisher/office_contacts.py",
    "services/publisher/policy_file.py",
    "services/publisher/policy_registry.py",
    "services/publisher/report.py",
    "services/publisher/restating.py",
    "services/publisher/site/feed.py",
    "services/publisher/site/maps.py",
    "services/publisher/site/rendering.py",
    "services/publisher/site/series.py",
    "services/publisher/site/trend.py",
    "services/publisher/inputs.py",
    "services/ingest/body/batch.py",
    "services/ingest/body/compression.py",
    "services/ingest/body/media_types.py",
    "services/ingest/body/ndjson.py",
}


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_core_does_no_input_or_output_and_reads_no_clock(name: str) -> None:
    path = ROOT / name
    assert not {one.partition(".")[0] for one in imported(path)} & INPUT_AND_OUTPUT
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    assert not {call for call in calls if call.endswith((".now", ".utcnow", ".today"))}


def test_one_module_reads_the_wall_clock() -> None:
    """Cores and stores receive `now`. Code that puts the time into an envelope is not a core."""
    readers = {
        relative(path)
        for path in {*of("services")} - {*of("services/cli")}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"datetime.now", "date.today", "datetime.utcnow"}
    }
    assert readers == {"services/runtime/clock.py", "services/importer/sending.py"}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_module_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree), "write a docstring of one sentence"


@pytest.mark.parametrize("path", sorted({*FILES, *(ROOT / "tests").rglob("*.py")}), ids=relative)
def test_no_module_has_a_meaningless_name(path: Path) -> None:
    assert not {path.stem, *(part for part in relative(path).split("/")[:-1])} & NAMES_OF_NOTHING
