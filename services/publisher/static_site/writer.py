"""Writes a copy of the site: requests each address from the routes of the publisher, and stores the response."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from services.publisher.static_site import links, names, readme
from services.publisher.static_site.directory import Directory
from services.publisher.static_site.manifest import Entry
from services.publisher.static_site.scope import Revision, Scope
from services.runtime.errors import AwayError, InvariantError

SECONDS = 120.0
"""The limit for one response."""


@dataclass(frozen=True, slots=True)
class Written:
    """The result of a run: numbers of pages and of all files, their size in bytes, and what the run did."""

    pages: int
    files: int
    size: int
    written: int
    unchanged: int
    removed: int


class Writer:
    """One run."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        scope: Scope,
        directory: Directory,
        failure: Callable[[], Exception | None],
        progress: Callable[[int, int], None],
    ) -> None:
        """`failure`: why a route could not read. `progress` is called with the numbers of files done and known."""
        self._client, self._scope, self._directory = client, scope, directory
        self._failure, self._progress = failure, progress
        self._absent = {scope.file(link) for entry in directory.earlier.values() for link in entry.absent}
        """Files of links that had no response, as far as is known: at first, in the last run."""
        self._written: set[str] = set()

    async def run(self, revisions: list[Revision]) -> Written:
        """Write all files, and remove those of earlier runs that are no longer part of the site."""
        await self._follow(use_tags=not self._scope.has_lost(one.address for one in self._directory.earlier.values()))
        await self._correct()
        files = self._directory.files
        self._put(names.README, readme.text(revisions))
        self._put(names.SUMS, readme.sums({file: entry.sha256 for file, entry in files.items()}))
        removed = self._directory.finish()
        return Written(
            pages=sum(file.endswith(".html") for file in files),
            files=len(files),
            size=sum(entry.size for entry in files.values()),
            written=len(self._written),
            unchanged=len(files) - len(self._written),
            removed=removed,
        )

    async def _follow(self, *, use_tags: bool) -> None:
        """Request the known addresses and, from these pages on, all that are linked."""
        known = {file: address for address in self._scope.starts if (file := self._scope.file(address))}
        queue = list((known | self._scope.enumerated).items())
        queued = dict(queue)
        for number, (file, address) in enumerate(queue):  # grows meanwhile
            self._progress(number, len(queue))
            entry = await self._fetch(file, address, use_tag=use_tags)
            for link in entry.links if entry else ():
                linked = self._scope.file(link)
                if linked is not None and linked not in queued:
                    queued[linked] = link
                    queue.append((linked, link))
        self._progress(len(queue), len(queue))

    async def _correct(self) -> None:
        """Write pages again whose links lead to files that turned out to be absent, or to be there.

        That is known only now. A page that has not changed since the last run was not rendered either.
        """
        for file, entry in list(self._directory.files.items()):
            if entry.absent != tuple(link for link in entry.links if self._resolve(link) is None):
                await self._fetch(file, entry.address, use_tag=False)

    async def _fetch(self, file: str, address: str, *, use_tag: bool) -> Entry | None:
        """Request an address and write its file. None if there is nothing at the address."""
        earlier = self._directory.earlier.get(file)
        tag = earlier.etag if earlier and use_tag and earlier.address == address else ""
        if tag and not self._directory.is_intact(file):
            tag = ""
        response = await self._response(address, {"If-None-Match": tag} if tag else {})
        self._absent.discard(file)
        if response.status_code == httpx.codes.NOT_MODIFIED and earlier:
            self._directory.keep(file, earlier)
            return earlier
        if response.status_code == httpx.codes.OK:
            return self._store(file, address, response)
        if file in self._scope.enumerated:
            raise InvariantError(f"{address} is published, but its status is {response.status_code}")
        self._absent.add(file)
        return None

    async def _response(self, address: str, headers: dict[str, str]) -> httpx.Response:
        try:
            async with asyncio.timeout(SECONDS):
                response = await self._client.get(address, headers=headers)
        except TimeoutError:
            raise AwayError(f"{address} was not complete after {SECONDS:.0f} s: check PostgreSQL's load") from None
        except AssertionError:  # a download that PostgreSQL cut off has no end
            raise self._failure() or InvariantError(f"{address} has no end") from None
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise self._failure() or InvariantError(f"{address} has the status {response.status_code}")
        return response

    def _store(self, file: str, address: str, response: httpx.Response) -> Entry:
        media_type = response.headers.get("Content-Type", "")
        if not names.has_suffix_of(file, media_type):
            raise InvariantError(f"{address} is {media_type}, but its file would be {file}: give the route a suffix")
        linked: set[str] = set()

        def resolve(link: str) -> str | None:
            target = self._resolve(link)
            if target not in self._scope.enumerated:
                linked.add(link)
            return target

        content = response.content
        if media_type.startswith(links.REWRITTEN):
            page = links.rewrite(content.decode(), address, file, resolve)
            content = links.with_policy(page, response.headers.get("Content-Security-Policy", "")).encode()
        found = tuple(sorted(linked))
        absent = tuple(link for link in found if self._resolve(link) is None)
        return self._put(
            file, content, address=address, etag=response.headers.get("ETag", ""), links=found, absent=absent
        )

    def _put(self, file: str, content: bytes, **source: Any) -> Entry:  # the types are those of Entry
        """Write a file. `source`: the fields of its entry that state where it is from."""
        entry = Entry(hashlib.sha256(content).hexdigest(), len(content), **source)
        if self._directory.write(file, content, entry):
            self._written.add(file)
        return entry

    def _resolve(self, link: str) -> str | None:
        file = self._scope.file(link)
        return None if file in self._absent else file
