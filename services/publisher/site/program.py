"""Identifies the program that renders the pages: a page changes with its template, although its report does not."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import schemas
from services.publisher import site


@cache
def digest(*more: ModuleType) -> str:
    """The digest of the code, templates and code lists that determine the bytes of a page, and of `more` packages."""
    found = hashlib.sha256(version("jinja2").encode())
    for package in (schemas, site, *more):
        root = Path(package.__path__[0])
        for path in sorted(one for one in root.rglob("*") if one.is_file() and "__pycache__" not in one.parts):
            content = path.read_bytes()
            found.update(f"\n{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()
