"""The files that describe a copy: what it has, how to look at it, and how to verify it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

from services.publisher.static_site.scope import Revision

_NONE = "No report has been published yet."
_TEXT = """\
The weekly detainer report: all published reports as files
==========================================================

{newest}

Open index.html. The pages need no server and no scripts; their links are relative.
Any web server can show this directory.

  index.html                            the latest week
  reports/WEEK/index.html               a week; WEEK is its first day, such as 2017-01-28
  jurisdictions/CODE/index.html         a jurisdiction, by week
  v1/reports/WEEK.json, .csv            the newest revision of a week
  v1/reports/WEEK/revisions/N.json      one revision; a revision never changes
  v1/series/CODE.json                   the figures of a jurisdiction or of a state, by week
  feed.atom                             the newest revisions

Links within JSON files are addresses at a web server: /v1/reports/... is the file v1/reports/...
Pages state which weeks are provisional, as of this copy.


How to verify
-------------

1. That no file of this copy was changed:

     sha256sum --check --quiet SHA256SUMS

2. That a report is the one that was published. Its digest is the SHA-256 of the file as canonical JSON (RFC 8785)
   without the member "digest":

     ddor verify --against v1/reports/WEEK.json

   or, with Python alone:

     python3 -c '
import hashlib, json, sys
report = json.load(open(sys.argv[1], encoding="utf-8"))
digest = report.pop("digest")
canonical = json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
print(hashlib.sha256(canonical.encode()).hexdigest() == digest)' v1/reports/WEEK.json

3. That none is missing. Each revision names the digest of the one published before it in "previous_digest", so the
   newest digest above covers all of them. Compare it with another copy, or with the topic report-ready. This checks
   all digests and the chain:

     ddor verify --against .
"""


def text(revisions: Sequence[Revision]) -> bytes:
    """The text of the README. `revisions` are in the order of writing. It has no other time than theirs."""
    return _TEXT.format(newest=_newest(revisions)).encode()


def _newest(revisions: Sequence[Revision]) -> str:
    if not revisions:
        return _NONE
    last = revisions[-1]
    facts = {
        "Weeks": f"{len({one.week for one in revisions}):,}",
        "Revisions": f"{len(revisions):,}",
        "Newest revision": f"week {last.week}, revision {last.revision}",
        "Published": f"{last.published_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "Digest": last.digest,
    }
    lines = [f"{name + ':':<17}{fact}" for name, fact in facts.items()]
    if any(one.demonstration for one in revisions):
        lines += ["", "With demonstration data: not figures of real events."]
    return "\n".join(lines)


def sums(digests: Mapping[str, str]) -> bytes:
    """The digests of all files, in the format of sha256sum."""
    return "".join(f"{digests[file]}  {file}\n" for file in sorted(digests)).encode()
