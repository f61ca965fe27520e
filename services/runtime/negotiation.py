"""Content negotiation: Accept, Accept-Encoding, Prefer and If-None-Match. Pure.

Each function takes all lines of its header; several lines form one list (RFC 9110, section 5.3). Malformed elements are
ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.request import parse_http_list

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_is_name = re.compile(_NAME).fullmatch
_range = re.compile(rf"({_NAME})/({_NAME})").fullmatch
_is_weight = re.compile(r"0?\.[0-9]+|0\.?|1(?:\.0*)?").fullmatch
"""RFC 9110, section 12.4.2, and common variants: without the zero, or with more than three digits."""
_tag = re.compile(r'[ \t]*(?:(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*)?(?:,|\Z)').match


IDENTITY: Final = "identity"
"""The name of a body without a content coding."""
_ALIASES = {"x-gzip": "gzip"}
_BY_WILDCARD = ("gzip", IDENTITY)
"""The codings that `*` selects. Clients that send it do not all know newer ones."""


class _Range(NamedTuple):
    """A media range of Accept. `order` is its position in the list."""

    kind: str
    subtype: str
    weight: float
    order: int

    def matches(self, media_type: str) -> bool:
        kind, _, subtype = media_type.partition("/")
        return self.kind in ("*", kind) and self.subtype in ("*", subtype)

    @property
    def wildcards(self) -> int:
        return (self.kind, self.subtype).count("*")


def preferred(accept: Sequence[str], offered: Sequence[str]) -> str | None:
    """The offered media type with the highest weight in Accept (RFC 9110, section 12.5.1), or None if it accepts none.

    Among equal weights, the client's order decides, then the order of `offered`. If Accept is missing or empty, returns
    the first offered type. Ignores parameters other than `q`: the offered types have no variants.
    """
    ranges = _ranges(accept)
    if ranges is None:
        return offered[0]
    nearest = [(_nearest(ranges, media_type), media_type) for media_type in offered]
    wanted = [(-one.weight, one.order, media_type) for one, media_type in nearest if one is not None and one.weight > 0]
    return min(wanted, key=lambda one: one[:2])[2] if wanted else None


def weight(accept: Sequence[str], media_type: str) -> float | None:
    """The weight of a media type in Accept, 0 if Accept excludes it, None if Accept does not mention it."""
    ranges = _ranges(accept)
    if ranges is None:
        return 1.0
    nearest = _nearest(ranges, media_type)
    return None if nearest is None else nearest.weight


def _nearest(ranges: Sequence[_Range], media_type: str) -> _Range | None:
    """The most specific range that matches the media type."""
    return min((one for one in ranges if one.matches(media_type)), key=lambda one: one.wildcards, default=None)


def _ranges(accept: Sequence[str]) -> list[_Range] | None:
    """The media ranges, or None without Accept."""
    listed = [element for element in parse_http_list(",".join(accept)) if element]
    found = []
    for order, element in enumerate(listed):
        name, *parameters = element.split(";")
        name = name.strip(" \t")
        match, given = (
            _range("*/*" if name == "*" else name),
            _weight_of(parameters),
        )  # old Java clients send `*` alone
        if match and given is not None and not (match[1] == "*" != match[2]):
            found.append(_Range(match[1].lower(), match[2].lower(), given, order))
    return found if listed else None


def _weight_of(parameters: Sequence[str]) -> float | None:
    """The value of `q`; 1 without it, None if malformed."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip(" \t").lower() == "q":
            return float(value) if _is_weight(value.strip(" \t")) else None
    return 1.0


def coding(accept_encoding: Sequence[str], offered: Sequence[str]) -> str | None:
    """The content coding with the highest weight in Accept-Encoding (RFC 9110, section 12.5.3), or IDENTITY.

    None if the client refuses IDENTITY and accepts none of `offered`. Among equal weights, the order of `offered`
    decides; IDENTITY comes last, also if the client does not mention it.
    """
    weights: dict[str, float] = {}
    for element in parse_http_list(",".join(accept_encoding)):
        name, *parameters = element.split(";")
        name, given = name.strip(" \t").lower(), _weight_of(parameters)
        if _is_name(name) and given is not None:
            weights.setdefault(_ALIASES.get(name, name), given)
    default = dict.fromkeys(_BY_WILDCARD, weights["*"]) if "*" in weights else {}
    known = default | weights
    plain = known.get(IDENTITY)
    best = max(offered, key=lambda one: known.get(one, 0.0), default=IDENTITY)
    if (given := known.get(best, 0.0)) > 0 and given >= (plain or 0.0):
        return best
    return None if plain == 0 else IDENTITY


def is_strict(prefer: Sequence[str]) -> bool:
    """Whether the client sent `Prefer: handling=strict` (RFC 7240): any error fails the whole request.

    The first `handling` applies.
    """
    for element in parse_http_list(",".join(prefer)):
        name, _, value = element.partition(";")[0].partition("=")
        if name.strip(" \t").lower() == "handling":
            return value.strip(' \t"').lower() == "strict"
    return False


def has_tag(if_none_match: Sequence[str], tag: str) -> bool:
    """Whether If-None-Match contains this entity tag, by weak comparison, or `*` (RFC 9110, section 13.1.2).

    A malformed list matches nothing, so the client gets the full response.
    """
    text = ",".join(if_none_match).strip(" \t")
    if text == "*":
        return True
    tags, at = [], 0
    while at < len(text):
        match = _tag(text, at)
        if match is None:
            return False
        tags.append(match[1])
        at = match.end()
    return tag.removeprefix("W/").strip('"') in tags
