"""The aggregator's SQL statements by name, read from `queries.sql`."""

from __future__ import annotations

from typing import Final

from services.runtime import queries

SQL: Final = queries.load("services.aggregator")
