"""Generate the files in docs/examples with the real code: `python -m tests.support.examples`.

Events and reports need no servers. Responses come from ingest on a new local Kafka.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

import httpx

from deploy.local import parts
from deploy.local.parts import KafkaPart
from schemas.announcement import announcement
from schemas.detainer import Kind
from schemas.report import Report
from services.publisher import policy_registry
from services.publisher.policy_registry import ListedPolicy
from services.runtime.request_id import HEADER
from tests.support import kafka_log, processes
from tests.support.local_parts import started
from tests.support.processes import BATCH, SINGLE
from tests.support.waiting import until
from tests.unit.sample_reports import Declined, report, report_inputs, snapshot

FOLDER: Final = Path(__file__).parents[2] / "docs" / "examples"
COMMAND: Final = "python -m tests.support.examples"

LINES = "application/x-ndjson"
KEY = "the-key-of-the-agency-demo"

_ISSUED, _OTHER = "3f0c1d2e-6a7b-4c8d-9e0f-1a2b3c4d5e6f", "7d9e8f70-1b2c-4d3e-8f4a-5b6c7d8e9f0a"
_REPORTED = "2017-02-05T05:00:00Z"

POLICY: Final = ListedPolicy(
    "48453",
    "2017-01",
    date(2017, 2, 1),
    None,
    ("judicial-warrant", "offense-convicted", "offense-charged"),
    "https://assets.documentcloud.org/documents/3520992/ICE-Enforcement-and-Removal-Operations.txt",
)
"""As described in section III of the first weekly report of 2017."""

Document = dict[str, Any]


def _event(number: int, kind: str, data: Document) -> Document:
    return {
        "specversion": "1.0",
        "id": f"demo/{number}",
        "source": "/agencies/demo",
        "type": f"detainer-{kind}",
        "subject": data["detainer_id"],
        "time": f"2017-02-01T15:00:{number:02}Z",
        "dataschema": f"/schemas/detainer-{kind}/1",
        "datacontenttype": "application/json",
        "data": data,
    }


def events() -> dict[str, Document]:
    """One event of each type. `amended` refers to the detainer of `issued`, `withdrawn` to that of `declined`."""
    issued: Document = {
        "detainer_id": _ISSUED,
        "version": 1,
        "jurisdiction": "32003",
        "operator": "county",
        "location": "32003",
        "facility": "CCDC",
        "issued_at": "2017-01-30T09:15:00-08:00",
        "form": "I-247D",
        "citizenship": "MEX",
        "offenses": [{"category": "90D", "basis": "convicted"}],
    }
    declined: Document = {
        "detainer_id": _OTHER,
        "version": 1,
        "jurisdiction": "36059",
        "operator": "county",
        "issued_at": "2016-11-02T10:00:00-04:00",
        "declined_at": "2017-01-29T08:00:00-05:00",
        "recorded_at": "2017-01-31T17:30:00-05:00",
        "form": "I-247D",
        "reason": "policy",
        "citizenship": "SLV",
        "offenses": [{"category": "520", "basis": "charged"}],
    }
    amended = issued | {"version": 2, "offenses": [{"category": "90D", "basis": "charged"}]}
    withdrawn = declined | {"version": 2, "withdrawn": True, "withdrawn_reason": "entered-in-error"}
    return {
        "issued": _event(1, "issued", issued),
        "declined": _event(2, "declined", declined),
        "amended": _event(3, "issued", amended),
        "withdrawn": _event(4, "declined", withdrawn),
        "attested": _attested(),
    }


def _attested() -> Document:
    """The agency's own counts of the week."""
    return _event(7, "issued", {"detainer_id": "2017-01-28"}) | {
        "type": "week-attested",
        "time": "2017-02-06T15:00:00Z",
        "dataschema": "/schemas/week-attested/1",
        "data": {"week_start": "2017-01-28", "version": 1, "counts": {"issued": 162, "declined": 3}},
    }


def refused() -> Document:
    """An invalid event: its instant has no UTC offset, so its week is unknown."""
    data = events()["issued"]["data"] | {"issued_at": "2017-01-30T09:15:00"}
    return _event(5, "issued", data)


def several() -> list[Document]:
    """The events of the batch and the lines: all of the above, and one outside the agency's scope."""
    elsewhere = events()["issued"]["data"] | {"jurisdiction": "06037", "location": "06037"}
    return [*events().values(), refused(), _event(6, "issued", elsewhere)]


def requests() -> dict[str, str]:
    """The request bodies, by their path in docs/examples."""
    single = {f"events/{name}.json": pretty(event) for name, event in events().items()}
    lines = "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in several())
    refusals = {"events/refused.json": pretty(refused())}
    return single | refusals | {"requests/batch.json": pretty(several()), "requests/lines.ndjson": lines}


def _report() -> Report:
    return report(
        snapshot(
            {"32003": 118, "36059": 44},
            {"32003": 2, "36059": 1},
            attested={("everywhere", Kind.ISSUED): 162, ("everywhere", Kind.DECLINED): 3},
            heard={("everywhere", Kind.ISSUED): 162, ("everywhere", Kind.DECLINED): 3},
            forms={"I-247D": 160, "I-247N": 2},
            declines=[Declined(["90D:charged", "13A:convicted"]), Declined(None), Declined([])],
        ),
        report_inputs().with_policies(policy_registry.content([POLICY])),
    )


def announced() -> tuple[date, bytes]:
    """The week of the report, and the value of the record that announces it."""
    document = _report()
    return document.week_start, announcement(document.document(), _REPORTED)


def reports() -> dict[str, str]:
    """The report as it is served, and its announcement, both printed for people."""
    document = _report()
    served = document.model_dump(mode="json") | {"digest": document.digest}
    return {"report.json": pretty(served), "report-ready.json": pretty(json.loads(announced()[1]))}


async def ingest_responses(client: httpx.AsyncClient) -> dict[str, str]:
    """The responses of ingest. The order matters because receipts contain offsets."""
    bodies = requests()
    client.headers[HEADER] = "example-1"
    accepted = await _post(client, bodies["events/issued.json"])
    problem = await _post(client, bodies["events/refused.json"])
    batch = await _post(client, bodies["requests/batch.json"], BATCH)
    lines = await _post(client, bodies["requests/lines.ndjson"], LINES)
    responses = {
        "responses/problem.json": pretty(problem.json()),
        "responses/batch.json": pretty(batch.json()),
        "receipts/accepted.json": pretty(accepted.json()),
        "receipts/rejected.json": pretty(batch.json()["receipts"][len(events())]),
    }
    return responses | {"responses/lines.ndjson": lines.text}


async def unavailable(client: httpx.AsyncClient) -> dict[str, str]:
    """The response to an event that Kafka does not acknowledge because it is paused."""

    async def receipt() -> Document | None:
        response: Document = (await _post(client, pretty([events()["issued"]]), BATCH)).json()
        found: Document = response["receipts"][0] if "receipts" in response else {"status": response["code"]}
        return None if found["status"] == "accepted" else found  # Kafka stops shortly after the signal

    return {"receipts/unavailable.json": pretty(await until(receipt, "an event not acknowledged"))}


@asynccontextmanager
async def ingesting(kafka: KafkaPart, directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Ingest on this Kafka, which has the topics. Yields a client with the key of the agency demo."""
    agencies = directory / "agencies.toml"
    agencies.write_text(
        f'[[agency]]\nname = "demo"\nkey_sha256 = ["{hashlib.sha256(KEY.encode()).hexdigest()}"]\n'
        'kinds = ["issued", "declined"]\njurisdictions = ["32*", "36*"]\n'
    )
    one = processes.ingest(kafka.bootstrap, agencies, directory)
    try:
        one.start()
        async with httpx.AsyncClient(base_url=one.url, timeout=60, trust_env=False) as client:
            client.headers["Authorization"] = f"Bearer {KEY}"
            yield client
    finally:
        kafka.resume()
        one.stop(processes.DRAIN_SECONDS)


async def all_responses(kafka: KafkaPart, directory: Path) -> dict[str, str]:
    """All responses of ingest on this Kafka, which must be new, have the topics, and may be paused."""
    async with ingesting(kafka, directory) as client:
        responses = await ingest_responses(client)
        kafka.pause()
        return responses | await unavailable(client)


def pretty(document: Any) -> str:
    """Formatted JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


async def _post(client: httpx.AsyncClient, body: str, media_type: str = SINGLE) -> httpx.Response:
    return await processes.post(client, body.encode(), media_type)


def write(files: Mapping[str, str]) -> None:
    """Write files to docs/examples."""
    for name, content in files.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def main() -> None:
    """The command."""
    write(requests() | reports())
    with tempfile.TemporaryDirectory() as directory, started(parts.choose_kafka(Path(directory) / "kafka")) as kafka:
        kafka_log.make_topics(kafka)
        write(asyncio.run(all_responses(kafka, Path(directory))))


if __name__ == "__main__":
    main()
