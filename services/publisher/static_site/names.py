"""The file of an address of the site. Pure.

A page becomes `index.html` in a directory of its own, so that its address remains valid on any web server. Files keep
their addresses.
"""

from __future__ import annotations

import re

README, SUMS = "README.txt", "SHA256SUMS"
"""Files of the copy itself. They have no address."""

_PATH = re.compile(r"(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){1,8}").fullmatch
_FILE = re.compile(r"[^/]+\.[a-z][a-z0-9]{1,7}").fullmatch
_QUERY = re.compile(r"(before|geoid|state)=([A-Za-z0-9][A-Za-z0-9-]{0,39})").fullmatch
_MEDIA_TYPES = {"text/html": ".html", "application/json": ".json", "text/csv": ".csv"}


def file_of(address: str) -> str | None:
    """The file of an address (a path with an optional query), relative to the directory of the site.

    None if the address cannot be a file: an unknown query parameter, or a path with other characters. No file name
    begins with a dot or leaves the directory.
    """
    path, _, query = address.partition("?")
    stem = path
    if query:
        found = _QUERY(query)
        if found is None or path == "/" or _FILE(path.rpartition("/")[2]):
            return None
        name, value = found.groups()
        stem = f"{path}/{value}" if name in ("geoid", "state") else f"{path}/{name}-{value}"
    if stem == "/":
        return "index.html"
    if not _PATH(stem) or stem.split("/")[1] in (README, SUMS):
        return None
    if not query and _FILE(stem.rpartition("/")[2]):
        return stem[1:]
    return f"{stem[1:]}.json" if path.startswith("/v1/") else f"{stem[1:]}/index.html"


def is_file(name: str) -> bool:
    """Whether `file_of` or this package can have made the name of a file."""
    return name in (README, SUMS) or (_PATH(f"/{name}") is not None and _FILE(name.rpartition("/")[2]) is not None)


def has_suffix_of(file: str, media_type: str) -> bool:
    """Whether a web server that goes by the suffix of the file would serve this media type, as far as is known."""
    suffix = _MEDIA_TYPES.get(media_type.partition(";")[0].strip().lower())
    return suffix is None or file.endswith(suffix)


def relative(target: str, file: str) -> str:
    """A relative link from a file to another one."""
    return "../" * file.count("/") + target
