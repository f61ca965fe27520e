"""Problem responses (RFC 9457), the same in all services."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from services.runtime import request_id


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    """A problem response. `code` is stable and listed in the docs; `detail` describes the action.

    It has the id of the request, unless the request is refused before its headers are read.
    """
    body: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if (known := request_id.current()) is not None:
        body["request_id"] = known
    return JSONResponse(body | more, status, headers, media_type="application/problem+json")
