"""Writes the JSON Schemas of events and reports: `python -m schemas.export`, or compares them with `--check`.

The files in `schemas/golden` are committed, so that every change of a contract appears in a diff. An event that a
schema refuses is never accepted. An event that a schema allows may still be refused by rules in `schemas.acceptance`
that JSON Schema cannot express; `schemas/golden/README.md` lists them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from schemas.announcement import ReportFinal, ReportReady
from schemas.attestation import WeekAttested
from schemas.detainer import DetainerDeclined, DetainerIssued
from schemas.jurisdiction import JurisdictionKind, registry
from schemas.rejected import DetainerRejected
from schemas.report import Report

GOLDEN: Final = Path(__file__).parent / "golden"
COMMAND: Final = "python -m schemas.export"

CONTROL_PATTERN: Final = r"[\x00-\x1f\x7f]"

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
    """Each schema by name. An event's `dataschema` is the `$id` of its schema."""
    read = {name: model.model_json_schema(mode="validation") for name, model in _READ.items()}
    written = {name: model.model_json_schema(mode="serialization") for name, model in _WRITTEN.items()}
    for schema in read.values():
        _list_jurisdictions(schema)
    add_digest(written["report"])
    heads = {name: {"$schema": _DIALECT, "$id": f"/schemas/{name}/1"} for name in (*_READ, *_WRITTEN)}
    return {name: {**_one_line(schema), **heads[name], "title": name} for name, schema in (read | written).items()}


def _one_line(schema: Any) -> Any:
    """Forbid control characters in strings that have a pattern.

    In ECMA-262, the dialect of JSON Schema, `$` matches only at the end. In other dialects it also matches before a
    final line break.
    """
    if isinstance(schema, list):
        return [_one_line(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    tightened = {name: _one_line(one) for name, one in schema.items() if name != "not"}
    if isinstance(schema.get("pattern"), str):
        more = schema.get("not", {}).get("pattern")
        tightened["not"] = {"pattern": f"{CONTROL_PATTERN}|{more}" if more else CONTROL_PATTERN}
    return tightened


def _list_jurisdictions(schema: dict[str, Any]) -> None:
    """List the codes of jurisdictions and counties, which the models look up in the registry."""
    counties = sorted(entry.code for entry in registry() if entry.kind is JurisdictionKind.COUNTY)
    others = sorted(entry.code for entry in registry() if entry.kind is not JurisdictionKind.COUNTY)
    fields = [one["properties"] for one in schema["$defs"].values() if "jurisdiction" in one["properties"]]
    for properties in fields:
        schema["$defs"]["County"] = {"type": "string", "enum": counties}
        schema["$defs"]["OtherJurisdiction"] = {"type": "string", "enum": others}
        county = {"$ref": "#/$defs/County"}
        kept = {name: properties["jurisdiction"][name] for name in ("title", "description")}
        properties["jurisdiction"] = {**kept, "anyOf": [county, {"$ref": "#/$defs/OtherJurisdiction"}]}
        properties["location"]["anyOf"][0] = county


def add_digest(schema: dict[str, Any]) -> None:
    """Add the field `digest`: a report is stored and served with its own digest, which does not cover itself."""
    schema["properties"]["digest"] = dict(schema["properties"]["figures_digest"], title="Digest")
    schema["required"].append("digest")


def text(schema: dict[str, Any]) -> str:
    """The file's content: deterministic, and with one line for each value, so that diffs are small."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def differing() -> Iterator[str]:
    """The names of files that are missing, outdated or without a model."""
    wanted = {f"{name}.schema.json": text(schema) for name, schema in documents().items()}
    for name in sorted({*wanted, *(path.name for path in GOLDEN.glob("*.schema.json"))}):
        path = GOLDEN / name
        if not path.exists() or path.read_text(encoding="utf-8") != wanted.get(name):
            yield name


def write() -> None:
    """Write all files, and delete files without a model."""
    GOLDEN.mkdir(exist_ok=True)
    for path in GOLDEN.glob("*.schema.json"):
        path.unlink()
    for name, schema in documents().items():
        (GOLDEN / f"{name}.schema.json").write_text(text(schema), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Returns 1 if `--check` finds a difference."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the JSON Schemas to schemas/golden.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    if not parser.parse_args(arguments).check:
        write()
        return 0
    different = list(differing())
    for name in different:
        sys.stderr.write(f"schemas/golden/{name} differs from the models; update it with: {COMMAND}\n")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
