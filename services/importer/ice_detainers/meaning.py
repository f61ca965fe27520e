"""What a row of a released file is: the data of its events, or why it has none. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from services.importer.amending import WITHDRAWN
from services.importer.facilities import Unresolved, resolve
from services.importer.ice_detainers import values
from services.importer.ice_detainers.identity import Described
from services.importer.ice_detainers.mapping import ColumnMapping
from services.importer.ice_values import Lift, form_of, lift_of, noon
from services.importer.tables import Cell

NOTIFICATION: Final = "I-247N"
_PENDING, _NO_RECORD = "2", "3"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a row gives no event. `field` is a field's name; nothing here quotes a cell that may be a person's."""

    field: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Detainer:
    """A row that gives events: their data without an identity, and what the identity is made of."""

    data: dict[str, object]
    lift: Lift
    described: Described
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads rows whose cells are those of `fields`, in this order."""

    fields: Sequence[str]
    zone: ZoneInfo
    today: date
    mapping: ColumnMapping

    def read(self, cells: Sequence[Cell], epoch: date) -> Detainer | Refusal:
        """The row's meaning. `epoch` is day 0 of dates that are numbers."""
        row = dict(zip(self.fields, cells, strict=True))
        text = {field: values.text_of(row.get(field)) for field in _TEXTS}
        day = values.day_of(row.get("prepare_date"), epoch, self.mapping.date_formats)
        if day is None:
            return Refusal("prepare_date", "bad-date", "the prepare date is missing or not a date")
        if not values.is_plausible(day, self.today):
            return Refusal("prepare_date", "bad-date", "the prepare date is before 1970 or in the future")
        form = form_of(text["detainer_type"]) if text["detainer_type"] else ""
        if form is None:
            return Refusal("detainer_type", "unknown-type", "the detainer type begins with no I-247 form")
        lift = lift_of(text["lift_reason"], text["lift_reason_code"], self.mapping.lift_reasons)
        if lift is None:
            return Refusal("lift_reason", "unknown-lift-reason", _UNKNOWN_LIFT)
        found = resolve(text["facility"], text["state"], text["city"])
        if isinstance(found, Unresolved):
            field = "state" if found.reason in ("no-state", "unknown-state") else "facility"
            return Refusal(field, found.reason, found.detail)
        code = values.facility_code_of(text["facility_code"])
        offenses, offense_mark = _offenses(values.charge_code_of(row.get("charge_code")), text["criminality"])
        citizenship = values.citizenship_of(text["citizenship"]) if text["citizenship"] else values.NOT_KNOWN
        data: dict[str, object] = {
            "jurisdiction": found.code,
            "operator": found.operator.value,
            **({"location": found.location} if found.location else {}),
            **({"facility": code} if code else {}),
            "issued_at": noon(day, self.zone),
            **({"form": form} if form else {}),
            **({"citizenship": citizenship} if citizenship else {}),
            **({"offenses": offenses} if offenses is not None else {}),
        }
        marks = (
            *((f"{WITHDRAWN}{lift.withdrawn}",) if lift.withdrawn else ()),
            *((MARK_NOTIFICATION,) if form == NOTIFICATION else ()),
            *((MARK_NOTIFY,) if text["notify_release"].upper() == "YES" and form != NOTIFICATION else ()),
            *((MARK_FORM,) if not form else ()),
            *((MARK_LIFT,) if values.is_redacted(row.get("lift_reason")) else ()),
            *((MARK_CITIZENSHIP,) if citizenship is None else ()),
            *((offense_mark,) if offense_mark else ()),
        )
        steady = (text["citizenship"], text["birth_country"], text["birth_year"], text["gender"])
        described = Described(
            day, code, text["facility"], text["city"], text["state"], form, text["identifier"], steady
        )
        return Detainer(data, lift, described, marks)


_TEXTS: Final = (
    "facility", "facility_code", "state", "city", "lift_reason", "lift_reason_code", "detainer_type", "notify_release",
    "citizenship", "criminality", "identifier", "birth_year", "birth_country", "gender",
)  # fmt: skip
_UNKNOWN_LIFT = "not a known reason, or its code contradicts it; a --mapping file can say what it means"
MARK_NOTIFICATION = "requests for notification (I-247N)"
MARK_NOTIFY = "notification of release requested too (Notify Release Request)"
MARK_FORM = "form not stated"
MARK_LIFT = "lift reason redacted, counted as not lifted"
MARK_CITIZENSHIP = "citizenship not known: a name that is in no table"
MARK_CODE = "offense not known: a conviction code without a NIBRS category"
MARK_CHARGED = "offense not known: charged, category not stated"


def _offenses(charge_code: str, criminality: str) -> tuple[list[dict[str, str]] | None, str]:
    """The event's offenses (None: not known), and what the summary counts."""
    if charge_code:
        category = values.category_of(charge_code)
        return ([{"category": category, "basis": "convicted"}], "") if category else (None, MARK_CODE)
    if criminality.startswith(_PENDING):
        return None, MARK_CHARGED
    return ([] if criminality.startswith(_NO_RECORD) else None), ""
