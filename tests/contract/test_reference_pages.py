"""docs/settings.md, docs/commands.md and docs/decisions/README.md are current and complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import Field, SecretStr
from typer.core import TyperGroup
from typer.main import get_command

from deploy.documentation import commands_page, decisions_page, settings_page
from services.cli import main as ddor
from services.runtime import settings
from services.runtime.settings import Settings

_ROW = re.compile(r"^\| `DDOR_(\w+)` \| ([^|]+) \| ([^|]*)\| ([^|]+) \|$", re.MULTILINE)


@pytest.mark.parametrize("module", [settings_page, commands_page, decisions_page], ids=lambda module: module.PAGE.name)
def test_a_page_is_up_to_date_and_an_outdated_one_is_reported(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.main(["--check"]) == 0
    outdated = tmp_path / "outdated.md"
    text = module.PAGE.read_text(encoding="utf-8")
    outdated.write_text(text.replace("DDOR_ZONE", "DDOR_Z").replace("--by", "--b").replace("# Decisions", "# Others"))
    monkeypatch.setattr(module, "PAGE", outdated)
    assert module.main(["--check"]) == 1
    assert module.main([]) == 0
    assert module.main(["--check"]) == 0


def test_the_index_has_each_decision_by_its_number() -> None:
    listed = re.findall(r"^\| (\d+) \| \[[^]]+\]\((\d{4})-[\w-]+\.md\) \|$", decisions_page.page(), re.MULTILINE)
    assert len(listed) == len(list(decisions_page.FOLDER.glob("*.md"))) - 1
    assert all(int(number) == int(file) for number, file in listed)


def test_each_setting_has_one_row_with_a_type_and_a_meaning() -> None:
    rows = _ROW.findall(settings_page.page())
    assert [name.lower() for name, *_ in rows] == list(Settings.model_fields)
    assert all(meaning.strip().endswith(".") for *_, meaning in rows)


def test_exactly_the_secrets_may_be_files() -> None:
    assert {name.lower() for name, kind, *_ in _ROW.findall(settings_page.page()) if kind == "secret"} == set(
        settings._SECRETS
    )


def test_the_text_around_the_tables_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(Settings):
        key_of_tests: SecretStr | None = Field(None, description="For a test.")

    before = settings_page.page()
    monkeypatch.setattr(settings_page, "Settings", Other)
    after = settings_page.page()
    assert "| `DDOR_KEY_OF_TESTS` | secret | | For a test. |\n" in after
    assert after.replace("| `DDOR_KEY_OF_TESTS` | secret | | For a test. |\n", "") == before
    assert "## The agencies file" in after


def _commands(group: TyperGroup, name: str) -> Iterator[str]:
    for one, command in group.commands.items():
        yield f"{name} {one}"
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{name} {one}")


def test_each_command_has_a_heading_and_each_top_command_a_row() -> None:
    program, page = get_command(ddor.command(None)), commands_page.page()
    assert isinstance(program, TyperGroup)
    assert re.findall(r"^##+ `(ddor [^`]+)`$", page, re.MULTILINE) == list(_commands(program, "ddor"))
    listed = re.findall(r"^\| [a-z ]*\| \[`(ddor [\w-]+)`\]\(#([\w-]+)\) \| [A-Z].+\. \|$", page, re.MULTILINE)
    assert listed == [(f"ddor {name}", f"ddor-{name}") for names in ddor.COMMANDS.values() for name in names]
    assert "..." not in re.sub(r"^\$ .*$", "", page, flags=re.MULTILINE), "no sentence is cut"
