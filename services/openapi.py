"""Write the OpenAPI documents to docs/openapi: `python -m services.openapi`. With `--check`, compare only.

The files are committed so that a change of the interface shows up in a review.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from services.ingest.docs import openapi as ingest
from services.publisher.site import openapi as publisher
from services.runtime import generated
from services.runtime.openapi import text

DIRECTORY = Path(__file__).parents[1] / "docs" / "openapi"


def documents() -> dict[str, str]:
    """The files by name, with their content."""
    return {"ingest.json": text(ingest.document()), "publisher.json": text(publisher.document())}


def main(arguments: Sequence[str]) -> int:
    """Write the files. With `--check`, write nothing and return 1 if a file differs."""
    wanted = {DIRECTORY / name: content for name, content in documents().items()}
    return generated.main(wanted, "python -m services.openapi", arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
