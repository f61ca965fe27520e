"""`ddor verify --against DIR`: the digests of all revisions in a copy of the site, and the chain of these digests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from services.cli import site_copy, verify_document
from services.cli.console import FAILED
from services.cli.site_copy import Revision
from services.cli.verify_document import NoSuchReportError
from services.cli.verify_findings import Findings


class Link(NamedTuple):
    """A revision, its digest, and the digest that it names as that of the report before it."""

    revision: Revision
    digest: str
    previous: str | None


async def check(directory: Path) -> int:
    """Check all revisions in the directory, without any connection. Returns the exit code.

    Raises NoSuchReportError if it has no revisions, or if a file is not a report.
    """
    findings = Findings()
    links = []
    for revision, path in site_copy.files(directory):
        document = verify_document.read(path)
        for wrong in verify_document.wrong_digests(document):
            findings.note(False, str(revision), f"the {wrong} does not match its content")
        if (document["week_start"], document["revision"]) != (str(revision.week), revision.number):
            findings.note(False, str(revision), f"contains {document['week_start']}@{document['revision']}")
        links.append(Link(revision, document["digest"], document["previous_digest"]))
    if not links:
        raise NoSuchReportError(f"{directory} has no file v1/reports/WEEK/revisions/NUMBER.json: is it a copy?")
    if not findings.differ:
        findings.note(True, f"{len(links)} revisions", "match their digests")
    problems = list(chain_problems(links))
    for problem in problems:
        findings.note(False, "chain", problem)
    if not problems:
        newest = _newest(links)
        findings.note(True, "chain", f"complete up to {newest.revision}, whose digest covers all: {newest.digest}")
    return FAILED if findings.differ else 0


def chain_problems(links: Sequence[Link]) -> Iterator[str]:
    """The gaps and branches of a chain, and the missing numbers of revisions. Pure."""
    digests = {one.digest for one in links}
    named = Counter(one.previous for one in links)
    for one in links:
        before = "is the first report" if one.previous is None else f"names the report before it: {one.previous}"
        if one.previous is not None and one.previous not in digests:
            yield f"{one.revision} {before}, which is missing"
        if named[one.previous] > 1:
            yield f"{one.revision} {before}, and so does another revision"
    yield from _missing_numbers(one.revision for one in links)
    if len(digests) < len(links):
        yield "two files have the same digest"
    elif None not in named:
        yield "the first report is missing"


def _missing_numbers(revisions: Iterable[Revision]) -> Iterator[str]:
    known = set(revisions)
    for one in sorted(known):
        before = one._replace(number=one.number - 1)
        if one.number > 1 and before not in known:
            yield f"{before} is missing"


def _newest(links: Sequence[Link]) -> Link:
    """The only link that no other names. The chain has no problems."""
    (newest,) = {one.digest for one in links} - {one.previous for one in links}
    return next(one for one in links if one.digest == newest)
