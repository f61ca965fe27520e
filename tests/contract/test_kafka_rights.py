"""docs/security.md has the rights in Kafka as a table."""

from __future__ import annotations

from pathlib import Path

from services.cli.acls import RIGHTS

_PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")


def test_the_page_has_exactly_the_rights_of_the_code() -> None:
    text = _PAGE.partition("\n## Rights in Kafka\n")[2].partition("\n## ")[0]
    head, *rows = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| ")]
    assert rows
    users = [one.strip() for one in head[2:]]
    assert users == list(RIGHTS)
    listed = {
        (user, operation.strip(), resource.strip(), name.strip(" `"))
        for resource, name, *cells in rows
        for user, cell in zip(users, cells, strict=False)
        for operation in cell.split(",")
        if operation.strip()
    }
    assert listed == {
        (user, str(right.operation), right.resource.name.lower().replace("_", " "), right.name)
        for user, rights in RIGHTS.items()
        for right in rights
    }
