"""Checks of a report by itself: whether it is a report, and whether it has its digests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.report import Figures, Report, sha256_of
from services.cli.console import FAILED
from services.cli.verify_findings import Findings
from services.runtime.errors import CallerError

DERIVED = ("top", "top_declined", "tied_at_tenth", "totals", "jurisdictions", "tables", "line_list")
"""The members of a report that its figures digest covers."""
CHAIN = ("has the digest of the report before", "does not have the digest of the report before")
"""The results of checking the chain of digests: right, wrong."""


class NoSuchReportError(CallerError):
    """There is no report of this week and revision that can be verified."""


async def offline(file: Path, previous: Path | None) -> int:
    """Check the digests of a downloaded report and its link to the report before. Returns the exit code."""
    findings = Findings()
    document = read(file)
    check_digests(document, findings)
    if previous is not None:
        before = read(previous)
        check_digests(before, findings)
        is_next = document["previous_digest"] == before["digest"]
        findings.check(is_next, "chain", *CHAIN)
    return FAILED if findings.differ else 0


def read(file: Path) -> dict[str, Any]:
    """A downloaded report. Raises NoSuchReportError if the file is not a report."""
    try:
        document = dict(json.loads(file.read_bytes()))
        body = {name: value for name, value in document.items() if name != "digest"}
        Report.model_validate_json(json.dumps(body), strict=True)
        sha256_of(document)  # raises for numbers that canonical JSON cannot express
        return {**body, "digest": document["digest"]}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise NoSuchReportError(f"{file} is not a report: download it from /v1/reports/WEEK.json") from None


def check_digests(document: dict[str, Any], findings: Findings) -> None:
    """Check the digests of the document and of its figures."""
    wrong = wrong_digests(document)
    for name, content in (("document digest", "the document"), ("figures digest", "the figures")):
        findings.check(name not in wrong, name, f"matches {content}", f"does not match {content}")


def wrong_digests(document: dict[str, Any]) -> list[str]:
    """The names of the digests that do not match their content."""
    body = {name: value for name, value in document.items() if name != "digest"}
    figures = Figures.model_validate(figures_of(document))
    found = {"document digest": (sha256_of(body), "digest"), "figures digest": (figures.digest, "figures_digest")}
    return [name for name, (digest, member) in found.items() if digest != document[member]]


def figures_of(document: dict[str, Any]) -> dict[str, Any]:
    """The members of the document that its figures digest covers."""
    return {name: document[name] for name in DERIVED if name in document}
