"""The agencies file: who may send what. TOML, read again when it changes.

    [[agency]]
    name = "ice-las-vegas"
    key_sha256 = ["<SHA-256 of the bearer key, in hex>"]
    kinds = ["issued", "declined"]
    jurisdictions = ["32*", "US"]       # codes; 32* is the state 32 and its counties, see docs/settings.md
    valid_from = 2017-01-01T00:00:00Z   # optional, inclusive
    valid_to = 2018-01-01T00:00:00Z     # optional, exclusive
    events_per_second = 5000            # optional, over ten seconds; above it 429

An entry of `key_sha256` may have its own time, so that an old key ends by itself when a new one has taken its place:

    key_sha256 = [{ sha256 = "<the old one>", valid_to = 2017-07-01T00:00:00Z }, "<the new one>"]

The scopes of two agencies for one kind never overlap, or one detainer could be counted twice.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from schemas.detainer import Kind
from schemas.envelope import AGENCY_PATTERN
from schemas.jurisdiction import TRIBAL_DIGITS
from services.runtime.errors import ConfigurationError

_ALWAYS = datetime(1, 1, 1, tzinfo=UTC)
_FOREVER = datetime(9999, 12, 31, tzinfo=UTC)
_MAX_RATE = 1_000_000_000
"""Events a second: far above any, far below what arithmetic cannot hold."""


def _first_instant(value: object) -> object:
    """TOML dates mean their first instant in UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time.min, UTC)
    return value


def _in_utc(value: datetime) -> datetime:
    """Local date-times are refused, and those that lie in no year of UTC."""
    if value.tzinfo is None:
        raise ValueError("must carry an offset, such as Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie between the years 1 and 9999 in UTC; leave it out for no limit") from None


_Instant = Annotated[datetime, BeforeValidator(_first_instant), AfterValidator(_in_utc)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Scope = Annotated[str, Field(pattern=r"^(US|[0-9]{2,5}|[0-9]{0,4}\*)$")]


class _Valid(BaseModel):
    """What holds for some time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    valid_from: _Instant = _ALWAYS
    valid_to: _Instant = _FOREVER

    @model_validator(mode="after")
    def _has_an_instant(self) -> Self:
        if self.valid_from >= self.valid_to:
            raise ValueError("valid_to must be after valid_from")
        return self

    def is_valid(self, now: datetime) -> bool:
        """Whether `now` lies in [valid_from, valid_to)."""
        return self.valid_from <= now < self.valid_to


class Key(_Valid):
    """A bearer key, known by its SHA-256 alone."""

    sha256: _Sha256


def _key(value: object) -> object:
    """A digest alone is a key without an end of its own."""
    return {"sha256": value} if isinstance(value, str) else value


class Agency(_Valid):
    """One sender, its keys and its scope."""

    name: Annotated[str, Field(pattern=f"^{AGENCY_PATTERN}$")]
    key_sha256: Annotated[list[Annotated[Key, BeforeValidator(_key)]], Field(min_length=1)]
    kinds: Annotated[list[Kind], Field(min_length=1)]
    jurisdictions: Annotated[list[_Scope], Field(min_length=1)]
    events_per_second: Annotated[int, Field(ge=1, le=_MAX_RATE)] | None = Field(default=None, exclude=True)
    """How fast it may send decides nothing that is reported: no input of a report."""

    def covers(self, kind: Kind, jurisdiction: str) -> bool:
        """Whether the scope has this kind in this jurisdiction."""
        return kind in self.kinds and any(matches(scope, jurisdiction) for scope in self.jurisdictions)

    def overlaps(self, other: Agency) -> str | None:
        """What both may send at some instant, or None."""
        if self.valid_from >= other.valid_to or other.valid_from >= self.valid_to:
            return None
        for kind in set(self.kinds) & set(other.kinds):
            for mine in self.jurisdictions:
                for theirs in other.jurisdictions:
                    if _intersect(mine, theirs):
                        return f"{kind} in {mine if len(mine) >= len(theirs) else theirs}"
        return None


def matches(scope: str, code: str) -> bool:
    """Whether a scope covers a code: a code itself alone, `*` every code, `32*` the state and counties that begin so.

    No state's scope covers a tribe: its four digits begin like some state's two by chance.
    """
    if not scope.endswith("*"):
        return code == scope
    return scope == "*" or (len(code) != TRIBAL_DIGITS and code.startswith(scope[:-1]))


def _intersect(one: str, other: str) -> bool:
    if one.endswith("*") and other.endswith("*"):
        return one.startswith(other[:-1]) or other.startswith(one[:-1])
    return matches(one, other) or matches(other, one)


class Holder(NamedTuple):
    """Whom a key belongs to."""

    agency: Agency
    key: Key

    def may_send(self, now: datetime) -> bool:
        """Whether both the agency and this key of its are valid."""
        return self.agency.is_valid(now) and self.key.is_valid(now)


@dataclass(frozen=True)
class Agencies:
    """The file as read: `sha256` (hex) is over `content`."""

    listed: tuple[Agency, ...]
    content: bytes
    sha256: str

    def by_key(self, key: str) -> Holder | None:
        """Whom a bearer key belongs to. Only digests are compared, so time tells nothing of a key."""
        return self._holders.get(hashlib.sha256(key.encode()).hexdigest())

    @cached_property
    def _holders(self) -> dict[str, Holder]:
        return {key.sha256: Holder(agency, key) for agency in self.listed for key in agency.key_sha256}

    def allowed(self, kind: Kind, jurisdiction: str) -> list[Agency]:
        """Who may send this kind for this jurisdiction at any time."""
        return [agency for agency in self.listed if agency.covers(kind, jurisdiction)]


def parse(content: bytes) -> Agencies:
    """Read the file's bytes; ConfigurationError names the agency and the rule."""
    try:
        tables = tomllib.loads(content.decode())
        unknown = set(tables) - {"agency"}
        if unknown:
            raise ConfigurationError(f"agencies file: unknown table {sorted(unknown)[0]!r}; only [[agency]] is known")
        agencies = tables.get("agency", [])
        if not isinstance(agencies, list):
            raise ConfigurationError("agencies file: write [[agency]], once for each agency")
        listed = tuple(_agency(table) for table in agencies)
    except (ValueError, RecursionError) as error:  # no TOML, no text; or a number or a nesting without end
        raise ConfigurationError(f"agencies file is not TOML: {error}") from None
    _check(listed)
    return Agencies(listed, content, hashlib.sha256(content).hexdigest())


def _agency(table: object) -> Agency:
    try:
        return Agency.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = table.get("name", "one without a name") if isinstance(table, dict) else "what is no table"
        place = ".".join(str(part) for part in (name, *first["loc"]))
        raise ConfigurationError(f"agencies file: {place}: {first['msg']}") from None


def _check(listed: Sequence[Agency]) -> None:
    for agency in listed:
        if len({key.sha256 for key in agency.key_sha256}) < len(agency.key_sha256):
            raise ConfigurationError(f"agencies file: {agency.name} has a key twice")
    for one, other in combinations(listed, 2):
        if one.name == other.name:
            raise ConfigurationError(f"agencies file: {one.name} is listed twice")
        if {key.sha256 for key in one.key_sha256} & {key.sha256 for key in other.key_sha256}:
            raise ConfigurationError(f"agencies file: {one.name} and {other.name} share a key")
        if both := one.overlaps(other):
            raise ConfigurationError(f"agencies file: the scopes of {one.name} and {other.name} overlap: {both}")


class AgenciesFile:
    """The file on disk. `current` reads it again when it has changed, at most once a second."""

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._agencies: Agencies | None = None
        self.problem: str | None = "the agencies file has not been read"

    def current(self) -> Agencies | None:
        """The newest valid content; the last valid one while the file on disk is not, and `problem` says why."""
        now = self._monotonic()
        if now - self._looked_at < 1.0:
            return self._agencies
        self._looked_at = now
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._agencies = parse(self._path.read_bytes())
                self._stamp = stamp
            self.problem = None
        except (OSError, ConfigurationError) as error:
            self.problem = f"{type(error).__name__}: {error}"
        return self._agencies
