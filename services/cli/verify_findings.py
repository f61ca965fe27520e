"""The findings of a verification, and the differences of two documents."""

from __future__ import annotations

from typing import Any

from services.cli.console import out, styled


class Findings:
    """Prints the result of each check and records whether any of them failed."""

    def __init__(self) -> None:
        self.differ = False

    def check(self, is_right: bool, what: str, right: str, wrong: str) -> None:
        """Print the result of one check, with the text for its outcome."""
        self.note(is_right, what, right if is_right else wrong)

    def note(self, good: bool, what: str, detail: str = "") -> None:
        """Print the result of one check."""
        self.differ |= not good
        line = f" {what}{f': {detail}' if detail else ''}"
        out.print(styled("green", "✓", line) if good else styled("red", "✗", line), highlight=False, soft_wrap=True)


def differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:  # any JSON
    """The differences of two JSON documents: path, old value, new value."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        return [one for name in names for one in differences(old.get(name), new.get(name), f"{path}.{name}".strip("."))]
    if isinstance(old, list) and isinstance(new, list):
        keyed_old, keyed_new = _keyed(old), _keyed(new)
        return differences(keyed_old, keyed_new, path)
    return [] if old == new else [(path, old, new)]


def _keyed(rows: list[Any]) -> dict[str, Any]:
    """Rows by their key, so that an additional row does not shift all rows after it."""
    names = ("geoid", "category", "code", "agency")
    keyed: dict[str, Any] = {}
    for index, row in enumerate(rows):
        key = str(index)
        if isinstance(row, dict):
            of = row.get("basis") or row.get("kind") or ""
            key = next((f"{row[name]} {of}".strip() for name in names if name in row), key)
        keyed[key] = row
    return keyed
