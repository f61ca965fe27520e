"""services.runtime.connection_timeouts: the members of uvicorn and h11 that it overrides or reads exist.

Raise the bounds in pyproject.toml only together with this file and the table of tests/support/http_cases.py.
"""

from __future__ import annotations

import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

import h11
import pytest
from h11._receivebuffer import ReceiveBuffer
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

import services
from services.runtime.connection_timeouts import BoundedProtocol
from services.runtime.h11_connection import ServerConnection
from services.runtime.lingering_close import LingeringProtocol

_PYPROJECT = Path(services.__path__[0]).parent / "pyproject.toml"
OURS = {"connection_made", "connection_lost", "data_received", "eof_received", "handle_events", "pause_writing",
        "resume_writing", "shutdown", "on_response_complete", "send_400_response"}  # fmt: skip


@pytest.mark.parametrize(("name", "bound"), [("uvicorn", ">=0.54,<0.55"), ("h11", ">=0.16,<0.17")])
def test_subclassed_packages_have_a_version_bound(name: str, bound: str) -> None:
    wanted = tomllib.loads(_PYPROJECT.read_text())["project"]["dependencies"]
    assert f"{name}{bound}" in wanted
    lowest = bound.removeprefix(">=").partition(",")[0]
    assert version(name).startswith(f"{lowest}."), "read the changes, then raise the bound"


@pytest.mark.parametrize("name", sorted(OURS))
def test_overridden_members_exist_with_the_same_signature(name: str) -> None:
    original, overridden = (inspect.signature(getattr(one, name)) for one in (H11Protocol, BoundedProtocol))
    assert list(original.parameters) == list(overridden.parameters)


def test_nothing_else_of_uvicorn_is_overridden() -> None:
    own = {name for one in (LingeringProtocol, BoundedProtocol) for name in vars(one) if not name.startswith("__")}
    assert {name for name in own if hasattr(H11Protocol, name)} == OURS


def test_the_protocol_uses_the_overridden_members() -> None:
    events, request = inspect.getsource(H11Protocol.handle_events), inspect.getsource(RequestResponseCycle)
    assert "self.conn.next_event()" in events
    assert "self.send_400_response(msg)" in events
    assert "on_response=self.on_response_complete" in events
    assert "app = self.app" in events
    for name in ("disconnected", "keep_alive", "message_event", "more_body", "response_started", "response_complete"):
        assert f"self.{name} = " in request


def test_the_connection_and_its_buffer_have_the_used_members() -> None:
    assert {"next_event", "send"} <= {name for name in vars(ServerConnection) if name in vars(h11.Connection)}
    wire = ServerConnection()
    wire.receive_data(b"GET")
    assert isinstance(wire._receive_buffer, ReceiveBuffer)
    assert wire._receive_buffer._data == b"GET"
    assert not wire._receive_buffer_closed
    assert callable(ReceiveBuffer.maybe_extract_at_most)
