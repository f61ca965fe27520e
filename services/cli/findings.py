"""What a verification found, and where two documents differ."""

from __future__ import annotations

from typing import Any

from services.cli.terminal import out


class Findings:
    """What was looked at, line by line, and whether anything differed."""

    def __init__(self) -> None:
        self.differ = False

    def note(self, good: bool, what: str, detail: str = "") -> None:
        """Print one finding."""
        self.differ |= not good
        mark = "[green]✓[/green]" if good else "[red]✗[/red]"
        out.print(f"{mark} {what}{f': {detail}' if detail else ''}", highlight=False, soft_wrap=True)


def differences(old: Any, new: Any, place: str = "") -> list[tuple[str, Any, Any]]:  # any JSON
    """Where two documents differ, by path."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        return [
            one for name in names for one in differences(old.get(name), new.get(name), f"{place}.{name}".strip("."))
        ]
    if isinstance(old, list) and isinstance(new, list):
        keyed_old, keyed_new = _keyed(old), _keyed(new)
        return differences(keyed_old, keyed_new, place)
    return [] if old == new else [(place, old, new)]


def _keyed(rows: list[Any]) -> dict[str, Any]:
    """Rows by what names them, so that one row more does not make all behind it differ."""
    names = ("geoid", "category", "code", "agency")
    keyed: dict[str, Any] = {}
    for index, row in enumerate(rows):
        key = str(index)
        if isinstance(row, dict):
            of = row.get("basis") or row.get("kind") or ""
            key = next((f"{row[name]} {of}".strip() for name in names if name in row), key)
        keyed[key] = row
    return keyed
