"""Building blocks of the services' OpenAPI documents, and the routes that serve them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.runtime import request_id

Document = dict[str, Any]

_REF = "#/components/schemas/{model}"
_PROBLEM: Document = {
    "type": "object",
    "description": "RFC 9457. `code` is stable. `detail` describes the action and never quotes a value.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "examples": ["/problems/unknown-key"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "The X-Request-ID of the response."},
    },
}
_REQUEST_ID = {
    request_id.HEADER: {
        "description": "The id of this request in the log of the service: the client's, or a new one.",
        "schema": {"type": "string", "pattern": f"^{request_id.PATTERN}$"},
    }
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}


def document(title: str, description: str, paths: Document, schemas: Mapping[str, Document]) -> Document:
    """The complete document. Health routes and the problem schema are the same in each service."""
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "description": description, "version": "1", "license": {"name": "Apache-2.0"}},
        "paths": _identified(paths | _health()),
        "components": {
            "schemas": {name: {**schemas, "Problem": _PROBLEM}[name] for name in sorted({*schemas, "Problem"})},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "The agency's key."}},
        },
    }


def _identified(paths: Document) -> Document:
    """The paths, with the header X-Request-ID in each response."""
    return {
        path: {
            method: operation
            | {
                "responses": {
                    status: response | {"headers": response.get("headers", {}) | _REQUEST_ID}
                    for status, response in operation["responses"].items()
                }
            }
            for method, operation in item.items()
        }
        for path, item in paths.items()
    }


def models(*listed: type[BaseModel], mode: JsonSchemaMode = "validation") -> Document:
    """The schemas of pydantic models and of the types they refer to, by name."""
    found: Document = {}
    for model in listed:
        schema = model.model_json_schema(mode=mode, ref_template=_REF)
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    return found


def reference(name: str) -> Document:
    """A reference to a schema of the document."""
    return {"$ref": _REF.format(model=name)}


def content(media_type: str, schema: Document, **more: Any) -> Document:
    """The content of a body with one media type."""
    return {media_type: {"schema": schema, **more}}


def problem(description: str, *, retry: bool = False) -> Document:
    """A problem response."""
    body = content("application/problem+json", reference("Problem"))
    return retried(description, body) if retry else {"description": description, "content": body}


def retried(description: str, body: Document) -> Document:
    """A response with a Retry-After header."""
    return {"description": description, "headers": _RETRY_AFTER, "content": body}


def _health() -> Document:
    def route(summary: str, responses: Document) -> Document:
        return {"get": {"summary": summary, "tags": ["health"], "responses": responses}}

    plain = content("text/plain", {"type": "string"})
    return {
        "/livez": route("Liveness.", {"200": {"description": "The process runs.", "content": plain}}),
        "/readyz": route(
            "Readiness.",
            {
                "200": {"description": "Ready.", "content": plain},
                "503": problem("Not ready.", retry=True),
            },
        ),
        "/metrics": route("Prometheus metrics.", {"200": {"description": "Exposition format.", "content": plain}}),
    }


def text(described: Document) -> str:
    """The document as JSON text, for the committed file and the route."""
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def page(described: Document) -> str:
    """The document as a self-contained HTML page."""
    environment = Environment(
        loader=PackageLoader("services.runtime"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    return environment.get_template("docs.html").render(document=described, style=_STYLE)


def routes(described: Document) -> list[Route]:
    """`/openapi.json` and `/docs`."""
    served, shown = text(described).encode(), page(described).encode()
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    safe = {
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
    }

    async def as_json(_: Request) -> Response:
        return Response(served, media_type="application/json")

    async def as_page(_: Request) -> Response:
        return Response(shown, headers=safe, media_type="text/html")

    return [Route("/openapi.json", as_json), Route("/docs", as_page)]


def operations(described: Document) -> Iterable[tuple[str, str, Document]]:
    """All operations as (path, method, operation)."""
    for path, item in described["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


_STYLE = """\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h2{margin-top:2.5rem;border-top:1px solid #ccc;padding-top:1rem}
code,pre{font-family:ui-monospace,monospace;font-size:14px}
pre{background:#f5f5f5;padding:.75rem;overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #e5e5e5}
.method{text-transform:uppercase;font-weight:700}"""
