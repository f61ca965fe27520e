"""Write the OpenAPI documents: `python -m services.openapi`, or compare them with `--check`.

The files in docs/openapi are committed, so that a change of an interface is seen as one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from services.ingest import openapi as ingest
from services.publisher import openapi as publisher
from services.runtime.openapi import text

DIRECTORY = Path(__file__).parents[1] / "docs" / "openapi"


def documents() -> dict[str, str]:
    """Each file's name and content."""
    return {"ingest.json": text(ingest.document()), "publisher.json": text(publisher.document())}


def main(arguments: Sequence[str]) -> int:
    """Write the files; with `--check` answer 1 when one is not as it should be."""
    different = 0
    for name, content in documents().items():
        path = DIRECTORY / name
        if "--check" not in arguments:
            DIRECTORY.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != content:
            sys.stderr.write(f"docs/openapi/{name} is not up to date: run python -m services.openapi\n")
            different = 1
    return different


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
