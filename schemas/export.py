"""Write the JSON Schemas of what travels: `python -m schemas.export`, or compare them with `--check`.

The files in `schemas/golden` are committed, so that a change of a contract is seen as one. What a schema refuses is
never accepted; what it allows may still be refused, by the rules of `schemas.acceptance` that JSON Schema cannot say.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from schemas.attestation import WeekAttested
from schemas.detainer import DetainerDeclined, DetainerIssued
from schemas.rejected import DetainerRejected
from schemas.report import Report, ReportFinal, ReportReady

GOLDEN: Final = Path(__file__).parent / "golden"
COMMAND: Final = "python -m schemas.export"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_READ: Final[dict[str, type[BaseModel]]] = {
    "detainer-issued": DetainerIssued,
    "detainer-declined": DetainerDeclined,
    "week-attested": WeekAttested,
}
_WRITTEN: Final[dict[str, type[BaseModel]]] = {
    "report-ready": ReportReady,
    "report-final": ReportFinal,
    "detainer-rejected": DetainerRejected,
    "report": Report,
}


def documents() -> dict[str, dict[str, Any]]:
    """Each schema by its name; `$id` is what an event's `dataschema` says."""
    read = {name: model.model_json_schema(mode="validation") for name, model in _READ.items()}
    written = {name: model.model_json_schema(mode="serialization") for name, model in _WRITTEN.items()}
    add_digest(written["report"])
    heads = {name: {"$schema": _DIALECT, "$id": f"/schemas/{name}/1"} for name in (*_READ, *_WRITTEN)}
    return {name: {**schema, **heads[name], "title": name} for name, schema in (read | written).items()}


def add_digest(schema: dict[str, Any]) -> None:
    """A report is kept and served with its own digest beside what the digest covers."""
    schema["properties"]["digest"] = dict(schema["properties"]["figures_digest"], title="Digest")
    schema["required"].append("digest")


def text(schema: dict[str, Any]) -> str:
    """The file's content: the same for the same schema, and a line for each change."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def differing() -> Iterator[str]:
    """The names of schemas whose file is missing, old or of no model."""
    wanted = {f"{name}.schema.json": text(schema) for name, schema in documents().items()}
    for name in sorted({*wanted, *(path.name for path in GOLDEN.glob("*.schema.json"))}):
        path = GOLDEN / name
        if not path.exists() or path.read_text(encoding="utf-8") != wanted.get(name):
            yield name


def write() -> None:
    """Bring the files up to date; a file of no model is removed."""
    GOLDEN.mkdir(exist_ok=True)
    for path in GOLDEN.glob("*.schema.json"):
        path.unlink()
    for name, schema in documents().items():
        (GOLDEN / f"{name}.schema.json").write_text(text(schema), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the JSON Schemas to schemas/golden.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when a file differs")
    if not parser.parse_args(arguments).check:
        write()
        return 0
    different = list(differing())
    for name in different:
        sys.stderr.write(f"schemas/golden/{name} differs from the models; see what changed with: {COMMAND}\n")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
