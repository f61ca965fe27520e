"""The responses to readers: bodies with an entity tag, and problems as JSON or as a page."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from services.publisher.site import rendering
from services.runtime.negotiation import has_tag
from services.runtime.problems import problem

NOSNIFF = {"X-Content-Type-Options": "nosniff"}


class ProblemError(Exception):
    """A request without the wanted response. `detail` describes what to do."""

    def __init__(self, status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers


UNAVAILABLE = ProblemError(
    503, "reports-unavailable", "The reports are temporarily unavailable; retry later.", {"Retry-After": "5"}
)


def problem_document(error: ProblemError) -> Response:
    """The problem as JSON (RFC 9457)."""
    return problem(error.status, error.code, error.detail, error.headers)


def problem_page(error: ProblemError) -> Response:
    """The problem as an HTML page."""
    return html(rendering.problem_page(error.status, error.detail), error.headers, error.status)


def html(body: bytes, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    """A page, with the policy that permits only its own style sheet."""
    return response(body, rendering.MEDIA_TYPES["html"], headers, status)


def response(body: bytes, media_type: str, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    """A body. A page gets its content security policy."""
    is_page = media_type == rendering.MEDIA_TYPES["html"]
    policy = {"Content-Security-Policy": rendering.content_security_policy()} if is_page else {}
    return Response(body, status, {**NOSNIFF, **policy, **(headers or {})}, media_type=media_type)


def tagged(request: Request, body: bytes, media_type: str) -> Response:
    """A body with its digest as the ETag, or 304."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return not_modified(request, tag, {}) or response(body, media_type, caching(tag))


def caching(tag: str) -> dict[str, str]:
    """The headers of a body that caches must validate."""
    return {"ETag": tag, "Cache-Control": "no-cache"}


def not_modified(request: Request, tag: str, headers: Mapping[str, str]) -> Response | None:
    """304 if the client has the body with this tag, else None."""
    if not has_tag(request.headers.getlist("if-none-match"), tag):
        return None
    return Response(status_code=304, headers={**caching(tag), **headers})
