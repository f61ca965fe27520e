"""Release the contracts under a number: `python -m tests.support.release 1 detainer-issued detainer-declined`.

Copies the current schemas of these names to schemas/released, and for events some accepted examples with
their fingerprints. Never release a published number again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, given, settings

import schemas
from schemas import export, taxonomy
from schemas.acceptance import Refused, accept
from tests.support.golden import Document, first_week, mutated

RELEASED: Final = Path(schemas.__path__[0]) / "released"
SUMS: Final = RELEASED / "SHA256SUMS"
_GENERATED, _EVERY = 100, 200


def digests() -> str:
    """The content of SHA256SUMS for the existing files, in the format of `sha256sum --check`."""
    paths = sorted(path for path in RELEASED.glob("*/*") if path.is_file())
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(RELEASED)}\n" for path in paths)
    return "".join(lines)


def accepted() -> list[str]:
    """Accepted events with their fingerprints, one per line: generated ones and some of the first report."""
    events = [*islice(_generated(), _GENERATED), *islice(first_week(), 0, None, _EVERY)]
    reasons = sorted(taxonomy.withdrawal_reasons())
    for number, event in enumerate(events[::6]):
        taken_back = event["data"] | {"withdrawn": True, "withdrawn_reason": reasons[number % len(reasons)]}
        events.append({**event, "data": taken_back})
    return [_line(event) for event in events]


def _generated() -> Iterator[Document]:
    found: list[Document] = []

    @given(mutated())
    @settings(max_examples=1_500, deadline=None, database=None, derandomize=True, suppress_health_check=[*HealthCheck])
    def keep(document: Document) -> None:
        try:
            accept(json.dumps(document).encode())
        except Refused:
            return
        if document not in found:
            found.append(document)

    keep()
    # The first ones are simple and similar.
    yield from found[:: max(1, len(found) // _GENERATED)]


def _line(event: Document) -> str:
    fact = accept(json.dumps(event).encode())
    return json.dumps({"fingerprint": fact.fingerprint.hex(), "event": event}, separators=(",", ":")) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.release", description="Release the contracts.")
    parser.add_argument("number", type=int)
    parser.add_argument("name", nargs="+", choices=sorted(export.documents()))
    chosen = parser.parse_args()
    folder = RELEASED / str(chosen.number)
    folder.mkdir(parents=True, exist_ok=True)
    for name in chosen.name:
        shutil.copyfile(export.GOLDEN / f"{name}.schema.json", folder / f"{name}.schema.json")
    if any(name.startswith("detainer-") for name in chosen.name):
        (folder / "accepted.ndjson").write_text("".join(accepted()), encoding="utf-8")
    SUMS.write_text(digests(), encoding="utf-8")


if __name__ == "__main__":
    main()
