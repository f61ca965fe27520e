"""The SQL statements of the commands, by name."""

from __future__ import annotations

from typing import Final

from services.runtime import queries

SQL: Final = queries.load("services.cli", "operators.sql")
"""The statements of all commands except `ddor status`, whose are in services/publisher/desk."""
