"""The OpenAPI documents are up to date and complete, and their examples work."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import jsonschema
import pytest
from markupsafe import escape

from services import openapi as written
from services.ingest.body import media_types
from services.ingest.docs.openapi import document as ingest_document
from services.ingest.endpoint import EventsEndpoint
from services.publisher.site.openapi import document as publisher_document
from services.publisher.site.routes import Site
from services.runtime import clock, http, openapi
from tests.unit import sample_endpoint
from tests.unit.sample_reader import ABOUT

DOCUMENTS = {"ingest": ingest_document(), "publisher": publisher_document()}
both = pytest.mark.parametrize("name", DOCUMENTS)


@pytest.fixture
async def client(endpoint: EventsEndpoint) -> AsyncIterator[httpx.AsyncClient]:
    async with sample_endpoint.connected(endpoint, openapi.routes(DOCUMENTS["ingest"])) as client:
        yield client


def test_the_committed_documents_are_up_to_date() -> None:
    assert written.main(["--check"]) == 0


def test_a_document_that_differs_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "DIRECTORY", tmp_path / "openapi")
    assert written.main(["--check"]) == 1
    assert written.main([]) == 0
    assert written.main(["--check"]) == 0


def parts(value: object) -> Iterator[dict[str, Any]]:
    """All objects in a document."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(part)


@both
def test_every_reference_resolves(name: str) -> None:
    schemas = DOCUMENTS[name]["components"]["schemas"]
    for part in parts(DOCUMENTS[name]):
        if isinstance(reference := part.get("$ref"), str):
            prefix, _, last = reference.rpartition("/")
            assert prefix == "#/components/schemas"
            assert last in schemas
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@both
def test_every_operation_has_a_summary_responses_and_path_parameters(name: str) -> None:
    for path, _, operation in openapi.operations(DOCUMENTS[name]):
        assert operation["summary"].endswith((".", "?"))
        assert all(response["description"] for response in operation["responses"].values())
        named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))


def test_every_route_is_described_and_nothing_else(endpoint: EventsEndpoint) -> None:
    async def ready() -> str | None:
        return None

    reports = Site(cast("Any", None), ABOUT, clock.system)
    for name, routes in (("ingest", endpoint.routes), ("publisher", reports.routes)):
        app = http.application(routes, ready, cast("http.Lifespan", None))
        served = {(route.path, method) for route in app.routes for method in route.methods - {"HEAD"}}  # type: ignore[attr-defined]
        described = {(path, method.upper()) for path, method, _ in openapi.operations(DOCUMENTS[name])}
        assert described == served


def test_the_media_types_of_a_body_are_those_that_ingest_reads() -> None:
    body = DOCUMENTS["ingest"]["paths"]["/v1/events"]["post"]["requestBody"]["content"]
    assert set(body) == {media_types.SINGLE, media_types.BATCH, media_types.LINES, media_types.BINARY}


EXAMPLES = {
    f"{media_type} {name}": (media_type, example)
    for media_type, body in DOCUMENTS["ingest"]["paths"]["/v1/events"]["post"]["requestBody"]["content"].items()
    for name, example in body["examples"].items()
}


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_gets_the_documented_response(client: httpx.AsyncClient, name: str) -> None:
    media_type, example = EXAMPLES[name]
    post = DOCUMENTS["ingest"]["paths"]["/v1/events"]["post"]
    headers = {"Content-Type": media_type}
    if media_type == media_types.BINARY:
        headers |= {one["name"]: one["example"] for one in post["parameters"] if one["name"].startswith("ce-")}
    value = example["value"]
    response = await client.post(
        "/v1/events", content=value if isinstance(value, str) else json.dumps(value), headers=headers
    )
    assert response.status_code == example["x-status"], response.text
    described = post["responses"][str(response.status_code)]["content"][response.headers["content-type"]]
    if media_type == media_types.LINES:
        *receipts, last = map(json.loads, response.text.splitlines())
        for receipt in receipts:
            validate(receipt, openapi.reference("Receipt"))
        validate(last["summary"], openapi.reference("Summary"))
        assert [one["status"] for one in receipts] == ["accepted", "accepted", "rejected"]
    else:
        validate(response.json(), described["schema"])


def validate(value: object, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": DOCUMENTS["ingest"]["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


async def test_the_document_and_a_page_of_it_are_served(client: httpx.AsyncClient) -> None:
    assert (await client.get("/openapi.json")).json() == DOCUMENTS["ingest"]
    response = await client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    (style,) = re.findall(r"<style>(.*?)</style>", response.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in response.headers["content-security-policy"]


@both
def test_the_page_is_complete_and_self_contained(name: str) -> None:
    page = openapi.page(DOCUMENTS[name])
    assert not re.search(r"<script|src=|@import|https?://|<link", re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL))
    for path, _, operation in openapi.operations(DOCUMENTS[name]):
        assert path in page
        assert escape(operation["summary"]) in page
    for schema in DOCUMENTS[name]["components"]["schemas"]:
        assert f'id="{schema}"' in page
