"""Whether one JSON Schema accepts everything that another allows, for the keywords in the project's schemas."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from schemas.export import CONTROL_PATTERN

Schema = dict[str, Any]

_KNOWN = {
    *("$defs", "$id", "$ref", "$schema", "additionalProperties", "anyOf", "const", "default", "description", "enum"),
    *("format", "items", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "not"),
    *("pattern", "properties", "propertyNames", "required", "title", "type"),
}
_ONE_LINE = {"pattern": CONTROL_PATTERN}
"""Redundant with the pattern; for dialects in which `$` matches before a trailing line break."""
_HIGHEST, _LOWEST = ("maximum", "maxLength", "maxItems"), ("minimum", "minLength", "minItems")


def refused(allowed: Schema, reader: Schema) -> list[str]:
    """The values that `allowed` allows and `reader` refuses, one sentence each with its path. Empty: compatible."""
    return list(_Comparison(allowed, reader).differences(allowed, reader, "$"))


def lenient(schema: Schema) -> Schema:
    """The schema of a reader that ignores unknown fields."""
    result = copy.deepcopy(schema)
    for one in (result, *result.get("$defs", {}).values()):
        if one.get("additionalProperties") in (False, {"type": "null"}):
            del one["additionalProperties"]
            one.pop("propertyNames", None)
    return result


class _Comparison:
    """Two documents, so that references into them can be followed."""

    def __init__(self, allowed: Schema, reader: Schema) -> None:
        self._allowed = allowed
        self._reader = reader

    def differences(self, allowed: Schema, reader: Schema, path: str) -> Iterator[str]:
        """One sentence per difference, at this path and below."""
        options = _options(self._allowed, allowed)
        taking = _options(self._reader, reader)
        for option in options:
            found = [list(self._between(option, one, path)) for one in taking]
            if all(found):
                # Report the alternative with the fewest differences.
                yield from min(found, key=len)

    def _between(self, allowed: Schema, reader: Schema, path: str) -> Iterator[str]:
        unknown = {*allowed, *reader} - _KNOWN
        assert not unknown, f"{path}: compare {sorted(unknown)} too"
        yield from _values(allowed, reader, path)
        yield from _limits(allowed, reader, path)
        yield from self._members(allowed, reader, path)
        if "items" in reader:
            yield from self.differences(allowed.get("items", {}), reader["items"], f"{path}[]")

    def _members(self, allowed: Schema, reader: Schema, path: str) -> Iterator[str]:
        had, has = allowed.get("properties", {}), reader.get("properties", {})
        for name in sorted({*reader.get("required", [])} - {*allowed.get("required", [])}):
            yield f"{path}.{name}: is required, and may be absent"
        more_had, more = allowed.get("additionalProperties", True), reader.get("additionalProperties", True)
        for name in sorted(had):
            if name in has:
                yield from self.differences(had[name], has[name], f"{path}.{name}")
            elif more is False:
                yield f"{path}.{name}: is not a field any more"
            elif isinstance(more, dict):
                yield from self.differences(had[name], more, f"{path}.{name}")
        if more_had is False:
            return
        if more is False or reader.get("propertyNames") != allowed.get("propertyNames"):
            yield f"{path}: refuses unknown fields, which were allowed"
        elif isinstance(more, dict):
            yield from self.differences(more_had if isinstance(more_had, dict) else {}, more, f"{path}.*")


def _options(document: Schema, schema: Schema) -> list[Schema]:
    """The alternatives of a schema, with references resolved."""
    if "$ref" in schema:
        return _options(document, document["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    if "anyOf" in schema:
        return [option for one in schema["anyOf"] for option in _options(document, one)]
    return [schema]


def _values(allowed: Schema, reader: Schema, path: str) -> Iterator[str]:
    had, has = allowed.get("type"), reader.get("type")
    if has is not None and has != had and (had, has) != ("integer", "number"):
        yield f"{path}: is of type {has}, and may be {had or 'anything'}"
    elif (listed := _listed(reader)) is not None:
        before = _listed(allowed)
        if before is None:
            yield f"{path}: must be one of {listed}, and may be anything"
        elif gone := [one for one in before if one not in listed]:
            yield f"{path}: does not take {', '.join(map(str, gone))}"
    for word in ("pattern", "format"):
        if word in reader and allowed.get(word) != reader[word] and _listed(allowed) is None:
            yield f"{path}: has another {word}"
    if reader.get("not") not in (None, allowed.get("not"), _ONE_LINE):
        yield f"{path}: refuses more"


def _listed(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _limits(allowed: Schema, reader: Schema, path: str) -> Iterator[str]:
    for word in _HIGHEST:
        if word in reader and not allowed.get(word, float("inf")) <= reader[word]:
            yield f"{path}: {word} is {reader[word]}, and may be more"
    for word in _LOWEST:
        if word in reader and not allowed.get(word, float("-inf")) >= reader[word]:
            yield f"{path}: {word} is {reader[word]}, and may be less"
