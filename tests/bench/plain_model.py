"""The event as a plain service would model it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel


class PlainOffense(BaseModel):
    """One offense."""

    category: str
    basis: str


class PlainData(BaseModel):
    """An issued detainer."""

    detainer_id: UUID
    version: int
    jurisdiction: str
    operator: str
    location: str
    facility: str
    issued_at: datetime
    form: str
    citizenship: str
    offenses: list[PlainOffense]


class PlainEvent(BaseModel):
    """The envelope."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    dataschema: str
    datacontenttype: str
    data: PlainData
