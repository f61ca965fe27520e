"""Extension attributes for CloudEvents Distributed Tracing, in the strict form of W3C Trace Context.

They are stored in the record but are not part of the fact: a retry of an event has another trace.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

TRACEPARENT_PATTERN: Final = r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
"""Version 00 only: the form of later versions is unknown."""
_ZEROS = r"-0{32}-|-0{16}-"
"""Matches an all-zero trace id or parent id, which Trace Context forbids."""
_MEMBER = r"[a-z0-9][a-z0-9_*/-]*(@[a-z][a-z0-9_*/-]*)?=[!-+.-<>-~-]+"
_TRACESTATE_PATTERN = rf"{_MEMBER}( ?, ?{_MEMBER}){{0,31}}"
"""The form of Trace Context, without spaces in values, so that there is no free text."""
_MAX_TRACESTATE = 512

_traceparent = re.compile(TRACEPARENT_PATTERN).fullmatch
_zeros = re.compile(_ZEROS).search
_tracestate = re.compile(_TRACESTATE_PATTERN).fullmatch


def _no_zeros(value: str) -> str:
    if _zeros(value):
        raise PydanticCustomError("bad-format", "must not have an all-zero trace id or parent id")
    return value


Traceparent = Annotated[
    str,
    Field(pattern=f"^{TRACEPARENT_PATTERN}$", json_schema_extra={"not": {"pattern": _ZEROS}}),
    AfterValidator(_no_zeros),
]
Tracestate = Annotated[str, Field(pattern=f"^{_TRACESTATE_PATTERN}$", max_length=_MAX_TRACESTATE)]


def is_traceparent(text: str) -> bool:
    """Whether the text is a valid `Traceparent`."""
    return _traceparent(text) is not None and _zeros(text) is None


def is_tracestate(text: str) -> bool:
    """Whether the text is a valid `Tracestate`."""
    return len(text) <= _MAX_TRACESTATE and _tracestate(text) is not None
