"""Zones with the rules of other zones, which simulate another release of the zone database."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo


def renamed(rules: str, name: str) -> ZoneInfo:
    """A zone of this name with the rules of another."""
    with files("tzdata").joinpath("zoneinfo", *rules.split("/")).open("rb") as found:
        return ZoneInfo.from_file(found, key=name)


def machine(directory: Path, **rules: str) -> Path:
    """A directory for PYTHONTZPATH in which a zone such as America/New_York has the rules of another."""
    for name, other in rules.items():
        path = directory / "America" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(files("tzdata").joinpath("zoneinfo", *other.split("/")).read_bytes())
    return directory
