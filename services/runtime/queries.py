"""Named SQL: in a `.sql` file, each statement follows a line `-- name: the_name`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def load(package: str, file: str = "queries.sql") -> Mapping[str, str]:
    """All statements of `file` in `package`, by name. Raises ValueError if a name occurs twice."""
    parts = _NAME.split(files(package).joinpath(file).read_text(encoding="utf-8"))
    statements = {name: text.strip().rstrip(";") for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    if len(statements) != len(parts) // 2:
        raise ValueError(f"{file} of {package} names a statement twice")
    return MappingProxyType(statements)
