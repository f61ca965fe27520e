"""The tables of docs/settings.md: all settings with their types, defaults, meanings and users.

`python -m deploy.documentation.settings_page` writes them from services/runtime/settings.py between two comments of
the page, and leaves the rest unchanged; `--check` compares them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from services.runtime import generated
from services.runtime.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
_BEGIN, _END = "<!-- tables -->\n", "<!-- end of the tables -->\n"
_SECTIONS = {
    "kafka_bootstrap": ("Kafka", "All services and commands."),
    "postgres_dsn": ("PostgreSQL", "The aggregator, the publisher and commands. Ingest never connects to PostgreSQL."),
    "agencies_file": ("Agencies", "Ingest and the publisher."),
    "zone": ("The week", "All services, and commands that name a week."),
    "grace": ("Closing and restating", "The publisher, `ddor site`, and commands about weeks."),
    "line_list": ("Reports", "The publisher, and `ddor site`."),
    "host": ("HTTP", "All services."),
    "worker": ("Aggregators", "The aggregator."),
    "ingest_url": ("Importing", "`ddor import` and `ddor history`."),
    "otlp_endpoint": ("Tracing", "All services."),
    "log_level": ("Logs", "All services."),
}
"""Headings and users of settings, by the first setting of each section. A new setting belongs to the one before it."""
_TYPES: dict[Any, str] = {
    SecretStr: "secret",
    Path: "path",
    timedelta: "duration",
    date: "date",
    bool: "`true`, `false`",
    int: "integer",
    float: "number",
    str: "text",
}


def page() -> str:
    """The text of docs/settings.md."""
    text = PAGE.read_text(encoding="utf-8")
    head, tail = text.partition(_BEGIN)[0], text.partition(_END)[2]
    return head + _BEGIN + "".join(_lines()) + "\n" + _END + tail


def _lines() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if section := _SECTIONS.get(name):
            heading, users = section
            yield f"\n## {heading}\n\n{users}\n\n| variable | type | default | meaning |\n|---|---|---|---|\n"
        cells = (f"`DDOR_{name.upper()}`", _type(field), _default(field.default), field.description or "")
        yield "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|\n"


def _type(field: FieldInfo) -> str:
    """The type in words, with the permitted values."""
    kind = _kind(field.annotation)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if issubclass(kind, Enum):
        return str(kind.__name__).lower()
    low = next((one.ge for one in field.metadata if isinstance(one, Ge)), None)
    high = next((one.le for one in field.metadata if isinstance(one, Le)), None)
    return _TYPES[kind] if low is None else f"{low} to {high:,}"


def _kind(annotation: Any) -> Any:
    """The annotation without None and without its checks."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (one for one in get_args(annotation) if one is not NoneType)
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _default(value: Any) -> str:
    """The default as one writes it into the variable; empty if there is none."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, timedelta):
        value = f"PT{value // timedelta(hours=1)}H"
    if isinstance(value, Enum):
        value = value.name
    if isinstance(value, bool):
        value = str(value).lower()
    return "" if value in (None, "") else f"`{value}`"


def main(arguments: Sequence[str]) -> int:
    """Write the page; with `--check`, return 1 if it is out of date."""
    return generated.main({PAGE: page()}, "python -m deploy.documentation.settings_page", arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
