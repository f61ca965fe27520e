"""Identifies the program that renders the pages: the entity tag of a page does not change with its template."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import schemas
from services.publisher import site, static_site


@cache
def digest() -> str:
    """The digest of the code, templates and code lists that determine the bytes of a page."""
    found = hashlib.sha256(version("jinja2").encode())
    for package in (schemas, site, static_site):
        root = Path(package.__path__[0])
        for path in sorted(one for one in root.rglob("*") if one.is_file() and "__pycache__" not in one.parts):
            content = path.read_bytes()
            found.update(f"\n{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()
