"""The events that agencies send: detainer-issued and detainer-declined, with their `data`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from schemas import taxonomy
from schemas.envelope import FACILITY_PATTERN, Envelope, Instant, Strict, Uuid
from schemas.jurisdiction import Operator, registry
from schemas.taxonomy import Taxonomy

MAX_OFFENSES = 32
MAX_VERSION = 2**53 - 1
"""The highest integer that every JSON parser reads exactly (RFC 7493, section 2.2)."""


class Kind(StrEnum):
    """The kind of a detainer fact. Each kind has its own count and its own topic."""

    ISSUED = "issued"
    DECLINED = "declined"

    @property
    def topic(self) -> str:
        """The Kafka topic of the events of this kind."""
        return f"detainer-{self.value}"


def _broken(rule: str, field: str, message: str) -> PydanticCustomError:
    """The error for a rule between fields. `field` is the field to report."""
    return PydanticCustomError(rule, message, {"field": field})


@dataclass(frozen=True, slots=True)
class Listed:
    """Annotation for a string that must be a code of a code list."""

    table: Callable[[], Taxonomy]

    def __get_pydantic_core_schema__(self, source: type[str], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, object]:
        return {"type": "string", "enum": sorted(self.table())}

    def _known(self, value: str) -> str:
        if value not in self.table():
            raise PydanticCustomError("unknown-code", "is not a code of the list {name}", {"name": self.table().name})
        return value


def _geoid(value: str) -> str:
    if not registry().fits(Operator.COUNTY, value):
        raise PydanticCustomError("unknown-jurisdiction", "is not the GEOID of a county or county equivalent")
    return value


OffenseCode = Annotated[str, Listed(taxonomy.offenses)]
Reason = Annotated[str, Listed(taxonomy.reasons)]
WithdrawalReason = Annotated[str, Listed(taxonomy.withdrawal_reasons)]
Form = Annotated[str, Listed(taxonomy.forms)]
Country = Annotated[str, Listed(taxonomy.countries)]
JurisdictionCode = Annotated[str, Field(pattern=r"^(US|[0-9]{2}|[0-9]{4}|[0-9]{5})$")]
CountyGeoid = Annotated[str, Field(pattern=r"^[0-9]{5}$"), AfterValidator(_geoid)]
FacilityCode = Annotated[str, Field(pattern=f"^{FACILITY_PATTERN}$")]


def _operator(value: str) -> str:
    if value not in set(Operator):
        raise PydanticCustomError("unknown-code", "must be county, city, state, federal or tribal")
    return value


OperatorCode = Annotated[
    str, AfterValidator(_operator), WithJsonSchema({"type": "string", "enum": [o.value for o in Operator]})
]


class Offense(Strict):
    """One offense that a person was charged with or convicted of."""

    category: OffenseCode = Field(description="NIBRS offense code, such as 90D.")
    basis: Literal["charged", "convicted"]


class _Detainer(Strict):
    detainer_id: Uuid = Field(description="Pseudonymous; the same for every version of this detainer.")
    version: int = Field(ge=1, le=MAX_VERSION, description="Increasing; the highest wins in any order of arrival.")
    withdrawn: bool = Field(default=False, description="True removes the fact from all counts.")
    withdrawn_reason: WithdrawalReason | None = None
    jurisdiction: JurisdictionCode = Field(
        description="County GEOID (county and city custody), state FIPS code, tribe code, or US."
    )
    operator: OperatorCode = Field(description="Who has custody; must fit the jurisdiction's kind.")
    location: CountyGeoid | None = Field(
        default=None, description="County where the facility is located; never counted."
    )
    facility: FacilityCode | None = None
    issued_at: Instant
    form: Form | None = None
    citizenship: Country | None = None
    offenses: Annotated[list[Offense], Field(max_length=MAX_OFFENSES)] | None = Field(
        default=None, description="Absent: not known. Empty: none recorded."
    )

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        if self.jurisdiction not in registry():
            raise _broken("unknown-jurisdiction", "jurisdiction", "is not in any edition of the registry")
        if not registry().fits(Operator(self.operator), self.jurisdiction):
            raise _broken("operator-misfit", "operator", "does not fit the kind of the jurisdiction")
        if self.withdrawn and self.withdrawn_reason is None:
            raise _broken("missing-field", "withdrawn_reason", "is required when withdrawn is true")
        if not self.withdrawn and self.withdrawn_reason is not None:
            raise _broken("unexpected-field", "withdrawn_reason", "is allowed only when withdrawn is true")
        return self


class IssuedData(_Detainer):
    """A detainer was issued. It counts in the week of `issued_at`."""


class DeclinedData(_Detainer):
    """A detainer was declined. It counts in the week of `recorded_at`, as in the first report."""

    declined_at: Instant
    recorded_at: Instant
    reason: Reason | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.declined_at < self.issued_at:
            raise _broken("order-of-instants", "declined_at", "must not be before issued_at")
        if self.recorded_at < self.declined_at:
            raise _broken("order-of-instants", "recorded_at", "must not be before declined_at")
        return self


class _DetainerEvent(Envelope):
    data: _Detainer

    @model_validator(mode="after")
    def _subject_is_detainer(self) -> Self:
        if self.subject != self.data.detainer_id:
            raise _broken("subject-mismatch", "subject", "must equal data.detainer_id")
        return self


class DetainerIssued(_DetainerEvent):
    """CloudEvent `detainer-issued`."""

    type: Literal["detainer-issued"]
    data: IssuedData


class DetainerDeclined(_DetainerEvent):
    """CloudEvent `detainer-declined`."""

    type: Literal["detainer-declined"]
    data: DeclinedData
