"""What the topic detainer-rejected says of a record that is no event: where it is and why, never what was in it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.envelope import Instant


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RejectedData(_Said):
    """The record's place, the rule it breaks, and the digest of its bytes."""

    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]
    reason: str = Field(description="Code of the rule, such as missing-field.")
    field: str | None = Field(description="Dotted path of the field to look at.")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DetainerRejected(_Said):
    """CloudEvent `detainer-rejected`."""

    specversion: Literal["1.0"]
    id: str = Field(description="topic/partition/offset of the record.")
    source: Literal["/aggregator"]
    type: Literal["detainer-rejected"]
    subject: str
    time: Instant
    datacontenttype: Literal["application/json"]
    data: RejectedData
