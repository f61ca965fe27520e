"""Renders the desk as a page without scripts. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape

from services.publisher.clock_skew import LIMIT
from services.publisher.desk import commands
from services.publisher.desk.contents import Contents
from services.publisher.desk.findings import Finding, findings, utc
from services.publisher.desk.waiting import open_transactions
from services.publisher.site.responses import ProblemError

REFRESH_SECONDS = 10
"""The one interval of an automatic refresh. It is off unless the operator chooses it (WCAG 2.2.1)."""
_MAX_DETAIL = 200
"""The greatest number of characters of an action's detail."""


def refresh_seconds(values: Sequence[str]) -> int | None:
    """The interval in the query, or None. ProblemError 400 if it is not the one that is offered."""
    if not values:
        return None
    if list(values) != [str(REFRESH_SECONDS)]:
        raise ProblemError(400, "bad-refresh", f"refresh must be {REFRESH_SECONDS}, in seconds.")
    return REFRESH_SECONDS


def render(contents: Contents, refresh: int | None) -> bytes:
    """The page. `refresh`: seconds until the browser loads it again; None: never."""
    state = contents.state
    partitions = [] if state is None else state["partitions"]
    return _templates().get_template("desk.html").render(
        style=_style(),
        refresh=refresh,
        seconds=REFRESH_SECONDS,
        at=f"{contents.now:%Y-%m-%d %H:%M:%S} UTC",
        state=state,
        away=contents.away,
        findings=[*_of_process(contents), *(findings(state) if state else ())],
        growing=contents.growing,
        counted_at=f"{contents.growing.at:%H:%M:%S}" if contents.growing else None,
        actions=[one | {"detail": _detail(one["detail"])} for one in map(dict, contents.actions)],
        sessions={name: _unprefixed(why, f"{name}: ") for name, why in contents.sessions.items()},
        clocks=contents.clocks,
        transactions=open_transactions(partitions),
        unusual=[one for one in partitions if _is_unusual(one)],
        commands=commands,
    ).encode()  # fmt: skip


@cache
def content_security_policy() -> str:
    """The policy of the page: its own style sheet, identified by its digest; no scripts and no other origins."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"


def _of_process(contents: Contents) -> list[Finding]:
    """The problems of this process: sessions that do not run, and clocks that differ."""
    found = [
        Finding(f"This publisher: {name}", _unprefixed(why, f"{name}: ") or "", "session-down", stops=False)
        for name, why in contents.sessions.items()
        if why is not None
    ]
    for name, ahead in contents.clocks.items():
        if ahead is not None and abs(ahead) > LIMIT.total_seconds():
            why = f"This host's clock is {_clock(ahead)}. Nothing is published until they agree."
            found.append(Finding(f"The clock differs from that of {name}", why, "clock-skew", stops=False))
    return found


def _unprefixed(text: str | None, prefix: str) -> str | None:
    return None if text is None else text.removeprefix(prefix)


def _is_unusual(partition: Mapping[str, Any]) -> bool:
    return bool(
        (partition["lag"] or 0) > 0
        or partition["halted_reason"]
        or partition["without_worker"]
        or partition["open_transaction_since"] is not None
    )


def _clock(ahead: float | None) -> str:
    if ahead is None:
        return "unknown"
    if abs(ahead) < 1:
        return "less than 1 s apart"
    return f"{abs(ahead):,.0f} s {'ahead' if ahead > 0 else 'behind'}"


def _detail(detail: Mapping[str, Any]) -> str:
    text = "; ".join(f"{name}: {value}" for name, value in detail.items())
    return text if len(text) <= _MAX_DETAIL else f"{text[:_MAX_DETAIL]}…"


def _age(seconds: float) -> str:
    """A duration in its two largest units."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {int(seconds % 60)} s" if minutes else f"{seconds:.0f} s"


@cache
def _templates() -> Environment:
    """The templates of the desk, on the frame of the public pages."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("services.publisher.desk"), PackageLoader("services.publisher.site")]),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: "unknown" if value is None else f"{value:,}"
    environment.filters["clock"] = _clock
    environment.filters["age"] = _age
    environment.filters["utc"] = utc
    environment.filters["unprefixed"] = _unprefixed
    return environment


@cache
def _style() -> str:
    """The style sheet of the public pages, followed by that of the desk."""
    loader = _templates().loader
    assert loader is not None
    sheets = [loader.get_source(_templates(), name)[0] for name in ("style.css", "desk.css")]
    return re.sub(r"\s+", " ", "\n".join(sheets)).strip()
