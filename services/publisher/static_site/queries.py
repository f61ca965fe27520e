"""The statements of `queries.sql`, by name."""

from __future__ import annotations

from typing import Final

from services.runtime import queries

SQL: Final = queries.load("services.publisher.static_site")
