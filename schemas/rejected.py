"""The event detainer-rejected: the address of an invalid record and the reason, never its content."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.envelope import Instant


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RejectedData(_Model):
    """Address of the record, the rule that it breaks, and the digest of its value."""

    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]
    reason: str = Field(description="Code of the broken rule, such as missing-field.")
    field: str | None = Field(description="Dotted path of the affected field.")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DetainerRejected(_Model):
    """CloudEvent `detainer-rejected`."""

    specversion: Literal["1.0"]
    id: str = Field(description="topic/partition/offset of the record.")
    source: Literal["/aggregator"]
    type: Literal["detainer-rejected"]
    subject: str
    time: Instant
    datacontenttype: Literal["application/json"]
    data: RejectedData
