"""The route of the desk: `/desk`, for operators with the key."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.publisher.desk import page
from services.publisher.desk.access import CHALLENGE, DeskKey
from services.publisher.desk.desk import Desk
from services.publisher.site import report_requests, responses
from services.publisher.site.responses import ProblemError
from services.runtime.logs import get

log = get(__name__)

PATH = "/desk"
_PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
_LOCKED = ProblemError(
    401,
    "desk-key",
    "Enter any user name, and the desk key (DDOR_DESK_KEY) as the password.",
    {**_PRIVATE, "WWW-Authenticate": CHALLENGE},
)
_LOG_SECONDS = 60.0


class DeskRoutes:
    """The desk over HTTP. Without the key the response is 401 and reads nothing."""

    def __init__(self, desk: Desk, key: DeskKey, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._key = key
        self._monotonic = monotonic
        self._refused = 0
        self._logged_at = float("-inf")
        self.routes = [Route(PATH, self.show)]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Close the connections of the desk at the end. Use it for the lifetime of the service."""
        try:
            yield
        finally:
            await self._desk.close()

    async def show(self, request: Request) -> Response:
        """The page; 503 with the state of this process if PostgreSQL cannot be read."""
        if not self._is_open_to(request):
            return responses.problem_page(_LOCKED)
        try:
            report_requests.check_parameters(request, ("refresh",))
            refresh = page.refresh_seconds(request.query_params.getlist("refresh"))
        except ProblemError as error:
            error.headers = _PRIVATE
            return responses.problem_page(error)
        contents = await self._desk.contents()
        status = 503 if contents.state is None else 200
        headers = {**_PRIVATE, "Content-Security-Policy": page.content_security_policy()}
        return responses.html(page.render(contents, refresh), headers, status)

    def _is_open_to(self, request: Request) -> bool:
        given = request.headers.get("authorization")
        if given is None:  # a browser's first request
            return False
        if self._key.opens(given):
            return True
        self._note_refusal(request)
        return False

    def _note_refusal(self, request: Request) -> None:
        """Log wrong keys at most once a minute: everyone can send them."""
        self._refused += 1
        if self._monotonic() - self._logged_at >= _LOG_SECONDS:
            client = request.client.host if request.client else None
            log.warning("desk-refused", client=client, wrong_keys=self._refused)
            self._refused, self._logged_at = 0, self._monotonic()
