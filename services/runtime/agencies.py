"""The agencies file: which agencies may send which events. TOML, read again when it changes.

    [[agency]]
    name = "ice-las-vegas"
    key_sha256 = ["<SHA-256 of the bearer key, in hex>"]
    kinds = ["issued", "declined"]
    jurisdictions = ["32*", "US"]       # codes; 32* is the state 32 and its counties, see docs/settings.md
    valid_from = 2017-01-01T00:00:00Z   # optional, inclusive
    valid_to = 2018-01-01T00:00:00Z     # optional, exclusive
    events_per_second = 5000            # optional, over ten seconds; above it 429

A key in `key_sha256` can have its own validity, so that an old key expires after it is replaced:

    key_sha256 = [{ sha256 = "<the old one>", valid_to = 2017-07-01T00:00:00Z }, "<the new one>"]

The scopes of two agencies must not overlap for the same kind; otherwise one detainer could be counted twice. All codes
that a place has had count as the same place. A scope that matches no code is an error. So is a file without agencies:
it would make every key unknown, and clients treat that response as final.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property, lru_cache
from itertools import combinations
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from schemas.a_number import impersonal
from schemas.detainer import Kind
from schemas.envelope import AGENCY_PATTERN
from schemas.jurisdiction import TRIBAL_DIGITS, Succession, registry, successions
from services.runtime.errors import ConfigurationError
from services.runtime.logs import get

log = get(__name__)

_ALWAYS = datetime(1, 1, 1, tzinfo=UTC)
_FOREVER = datetime(9999, 12, 31, tzinfo=UTC)
_MAX_RATE = 1_000_000_000
"""Upper limit of `events_per_second`."""


def _first_instant(value: object) -> object:
    """TOML dates mean their first instant in UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time.min, UTC)
    return value


def _in_utc(value: datetime) -> datetime:
    """Convert to UTC. Refuses local date-times and those outside the years 1 to 9999 in UTC."""
    if value.tzinfo is None:
        raise ValueError("must have a UTC offset, such as Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be between the years 1 and 9999 in UTC; omit it for no limit") from None


def _of_some_place(scope: str) -> str:
    """Refuse a scope that matches no code: it is a typing error."""
    if scope not in registry() and not any(matches(scope, entry.code) for entry in registry()):
        raise ValueError(f"{scope} matches no code of a jurisdiction")
    return scope


_Instant = Annotated[datetime, BeforeValidator(_first_instant), AfterValidator(_in_utc)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Scope = Annotated[str, Field(pattern=r"^(US|[0-9]{2,5}|[0-9]{0,4}\*)$"), AfterValidator(_of_some_place)]


class _Valid(BaseModel):
    """An entry with a validity period."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    valid_from: _Instant = _ALWAYS
    valid_to: _Instant = _FOREVER

    @model_validator(mode="after")
    def _has_an_instant(self) -> Self:
        if self.valid_from >= self.valid_to:
            raise ValueError("valid_to must be after valid_from")
        return self

    def is_valid(self, now: datetime) -> bool:
        """Whether `now` is in [valid_from, valid_to)."""
        return self.valid_from <= now < self.valid_to


class Key(_Valid):
    """A bearer key. Only its SHA-256 is stored."""

    sha256: _Sha256


def _key(value: object) -> object:
    """A plain digest is a key without its own validity."""
    return {"sha256": value} if isinstance(value, str) else value


class Agency(_Valid):
    """One agency with its keys and scope."""

    name: Annotated[str, Field(pattern=f"^{AGENCY_PATTERN}$"), AfterValidator(impersonal)]
    key_sha256: Annotated[list[Annotated[Key, BeforeValidator(_key)]], Field(min_length=1)]
    kinds: Annotated[list[Kind], Field(min_length=1)]
    jurisdictions: Annotated[list[_Scope], Field(min_length=1)]
    events_per_second: Annotated[int, Field(ge=1, le=_MAX_RATE)] | None = Field(default=None, exclude=True)
    """Excluded from the inputs of a report: a rate limit does not change figures."""

    def covers(self, kind: Kind, jurisdiction: str) -> bool:
        """Whether the scope includes this kind in this jurisdiction."""
        return kind in self.kinds and any(matches(scope, jurisdiction) for scope in self.jurisdictions)

    def overlaps(self, other: Agency) -> str | None:
        """A description of what both may send at the same time, or None."""
        if self.valid_from >= other.valid_to or other.valid_from >= self.valid_to:
            return None
        for kind in set(self.kinds) & set(other.kinds):
            for mine in self.jurisdictions:
                for theirs in other.jurisdictions:
                    if both := _intersect(mine, theirs):
                        return f"{kind} in {both}"
        return None


def matches(scope: str, code: str) -> bool:
    """Whether a scope covers a code. `*` covers all codes, `32*` state 32 and its counties, any other only itself.

    The scope of a state covers no tribe: a tribe's four digits start with a state's digits by coincidence.
    """
    if not scope.endswith("*"):
        return code == scope
    return scope == "*" or (len(code) != TRIBAL_DIGITS and code.startswith(scope[:-1]))


def _intersect(one: str, other: str) -> str | None:
    """What two scopes have in common: a code, or a place with a code in each of them. None if nothing."""
    if one.endswith("*") and other.endswith("*"):
        common = one.startswith(other[:-1]) or other.startswith(one[:-1])
    else:
        common = matches(one, other) or matches(other, one)
    if common:
        return max(other, one, key=len)
    for code, place in _elsewhere(one):
        if matches(other, code):
            return f"{one} and {other}: {place}"
    return None


@lru_cache(maxsize=4_096)
def _elsewhere(scope: str) -> list[tuple[str, Succession]]:
    """The former and later codes of the places in a scope."""
    pairs = [((one.predecessor, one.successor), one) for one in successions()]
    pairs += [((one.successor, one.predecessor), one) for one in successions()]
    return [(other, place) for (code, other), place in pairs if matches(scope, code)]


class Holder(NamedTuple):
    """The agency to which a key belongs, and the key."""

    agency: Agency
    key: Key

    def may_send(self, now: datetime) -> bool:
        """Whether both the agency and this key are valid."""
        return self.agency.is_valid(now) and self.key.is_valid(now)


@dataclass(frozen=True)
class Agencies:
    """The parsed file. `sha256` is the hex digest of `content`."""

    listed: tuple[Agency, ...]
    content: bytes
    sha256: str

    def by_key(self, key: str) -> Holder | None:
        """The holder of a bearer key, or None. Compares digests only, so the timing reveals nothing about a key."""
        return self._holders.get(hashlib.sha256(key.encode()).hexdigest())

    @cached_property
    def _holders(self) -> dict[str, Holder]:
        return {key.sha256: Holder(agency, key) for agency in self.listed for key in agency.key_sha256}


def parse(content: bytes) -> Agencies:
    """Parse the file's bytes. Raises ConfigurationError, which names the agency and the rule."""
    try:
        tables = tomllib.loads(content.decode("utf-8-sig"))
        unknown = set(tables) - {"agency"}
        if unknown:
            raise ConfigurationError(f"agencies file: unknown table {sorted(unknown)[0]!r}; write [[agency]] only")
        agencies = tables.get("agency", [])
        if not isinstance(agencies, list):
            raise ConfigurationError("agencies file: write [[agency]], once for each agency")
        listed = tuple(_agency(table) for table in agencies)
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or a number or nesting that is too large
        raise ConfigurationError(f"agencies file is not TOML: {error}") from None
    if not listed:
        raise ConfigurationError("agencies file: it names no agency: write [[agency]] for each")
    _check(listed)
    return Agencies(listed, content, hashlib.sha256(content).hexdigest())


def _agency(table: object) -> Agency:
    try:
        return Agency.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = table.get("name", "unnamed agency") if isinstance(table, dict) else "entry that is not a table"
        location = ".".join(str(part) for part in (name, *first["loc"]))
        raise ConfigurationError(f"agencies file: {location}: {first['msg']}") from None


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
    """The file on disk. `current` checks at most once a second whether it has changed."""

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._monotonic = monotonic
        self._checked_at = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._agencies: Agencies | None = None
        self.problem: str | None = "the agencies file has not been read"

    def current(self) -> Agencies | None:
        """The newest valid content. While the file is invalid, the last valid content; `problem` is then the reason."""
        now = self._monotonic()
        if now - self._checked_at < 1.0:
            return self._agencies
        self._checked_at = now
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._agencies = parse(self._path.read_bytes())
                self._stamp = stamp
            self.problem = None
        except (OSError, ConfigurationError) as error:
            self._report(f"DDOR_AGENCIES_FILE: {self._path}: {getattr(error, 'strerror', None) or error}")
        return self._agencies

    def _report(self, problem: str) -> None:
        """Store the problem, and log it once if the file was valid before."""
        if self._agencies is not None and problem != self.problem:
            log.error("agencies-file-refused", reason=problem)
        self.problem = problem
