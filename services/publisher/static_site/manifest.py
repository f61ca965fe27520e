"""The list of the files that an earlier run wrote: a line of JSON for each, in the order of the file names. Pure.

A run appends a line before it writes a file, and writes the list again at its end. If it is killed, the last line may
be incomplete, and a later line of a file replaces an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from services.publisher.static_site.names import is_file
from services.runtime.errors import CallerError

NAME = ".ddor-site"
_FORMAT = "ddor site 1"
_DAMAGED = f"the directory's file {NAME} is damaged, or of another release: write to a new directory instead"


class DamagedManifestError(CallerError):
    """The list is not one that this program writes."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file: its address, the entity tag of its source, and the digest (SHA-256) and size of its bytes.

    `links`: the addresses that it links to, except those that the database gives. `absent`: those without a file, so
    that the links are without a target. A file of the copy itself has no address and no tag.
    """

    sha256: str
    size: int
    address: str = ""
    etag: str = ""
    links: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def without_tag(self) -> Entry:
        """The file, to be rendered again by the next run."""
        return msgspec.structs.replace(self, etag="")


def line(file: str, entry: Entry) -> bytes:
    """The line of a file."""
    return msgspec.json.encode((file, entry)) + b"\n"


def dump(renderer: str, entries: Mapping[str, Entry]) -> bytes:
    """The whole list. `renderer`: a digest of the program that rendered the files."""
    head = msgspec.json.encode((_FORMAT, renderer)) + b"\n"
    return head + b"".join(line(file, entries[file]) for file in sorted(entries))


def load(content: bytes, renderer: str) -> dict[str, Entry]:
    """The files of a list. Without their tags if another program rendered them. Raises DamagedManifestError."""
    head, *lines = content.splitlines(keepends=True) or [b""]
    try:
        _, by = msgspec.json.decode(head, type=tuple[Literal["ddor site 1"], str])
        entries = dict(msgspec.json.decode(one, type=tuple[str, Entry]) for one in lines if one.endswith(b"\n"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DamagedManifestError(_DAMAGED) from None
    if not all(is_file(file) for file in entries):  # files of the list may be deleted
        raise DamagedManifestError(_DAMAGED)
    return entries if by == renderer else {file: entry.without_tag() for file, entry in entries.items()}
