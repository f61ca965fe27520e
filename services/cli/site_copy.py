"""Reads the reports in a copy of the site, which `ddor site` writes: one JSON file for each revision."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from services.cli import verify_document
from services.publisher.announcements import Announced
from services.runtime.errors import CallerError


class OtherDocumentError(CallerError):
    """A file of the copy is not the document that was announced under its number."""


class UnannouncedRevisionError(CallerError):
    """The copy has revisions that `report-ready` does not announce: the log is older than the copy."""


class Revision(NamedTuple):
    """A week and a number, as the names of files state them."""

    week: date
    number: int

    def __str__(self) -> str:
        return f"{self.week}@{self.number}"


def files(directory: Path) -> Iterator[tuple[Revision, Path]]:
    """The files of all revisions, by week and number. A file with another name is no revision."""
    found = []
    for path in directory.glob("v1/reports/*/revisions/*.json"):
        name = path.parent.parent.name
        if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", name) and re.fullmatch("[1-9][0-9]{0,8}", path.stem):
            found.append((Revision(date.fromisoformat(name), int(path.stem)), path))
    yield from sorted(found)


def document(directory: Path, one: Announced) -> dict[str, Any] | None:
    """The document of an announced revision. None if the copy does not have it.

    Its digest covers every byte of it, so it equals the published one. Raises OtherDocumentError otherwise, and
    NoSuchReportError if the file is not a report.
    """
    path = directory / "v1" / "reports" / str(one.week) / "revisions" / f"{one.revision}.json"
    if one.final or not path.is_file():
        return None
    found = verify_document.read(path)
    if wrong := verify_document.wrong_digests(found):
        raise OtherDocumentError(f"{path}: the {wrong[0]} does not match its content; use another copy")
    if found["digest"] != one.digest:
        raise OtherDocumentError(
            f"{path}: its digest is {found['digest']}, but {one} was published with {one.digest}; use another copy"
        )
    return found


def check_announced(directory: Path, announced: Mapping[Revision, object]) -> None:
    """Raises UnannouncedRevisionError if the copy has a revision that is not among these."""
    if unknown := [str(one) for one, _ in files(directory) if one not in announced]:
        raise UnannouncedRevisionError(
            f"{directory} has {len(unknown)} revisions that neither report-ready nor the database has, so the log is"
            f" older than this copy: {', '.join(unknown[:5])}. Nothing was recovered. Restore a newer copy of the log;"
            " see docs/backup-and-restore.md"
        )
