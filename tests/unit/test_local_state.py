"""deploy.local.state: what stays in the state directory."""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.local.state import Record, State, current_week


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


def test_a_shell_reads_from_the_env_file_exactly_what_was_written(state: State) -> None:
    variables = {"DDOR_A": "plain", "DDOR_B": "with space, 'quotes' and $dollar", "DDOR_C": "a#b=c&d"}
    state.write_env(variables)
    script = f'. "{state.env_file}" && printf "%s\\n" "$DDOR_A" "$DDOR_B" "$DDOR_C"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == list(variables.values())
    assert state.read_env() == variables


def test_secrets_are_readable_by_their_owner_alone(state: State) -> None:
    state.write_env({"DDOR_AGENCY_KEY": state.agency_key()})
    for path in state.directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_agency_has_one_key_for_ever_and_the_file_its_hash(state: State) -> None:
    key = state.agency_key()
    assert State(state.directory).agency_key() == key
    (agency,) = tomllib.loads(state.agencies_file.read_text())["agency"]
    assert agency == {
        "name": "demo",
        "key_sha256": [hashlib.sha256(key.encode()).hexdigest()],
        "kinds": ["issued", "declined"],
        "jurisdictions": ["*"],
    }
    assert key not in state.agencies_file.read_text()


def test_the_record_comes_back(state: State) -> None:
    assert state.read_record() is None
    record = Record("native", "docker", "2026-11-21", {"ingest": 8081})
    state.write_record(record)
    assert State(state.directory).read_record() == record


def test_only_what_is_ours_is_deleted(state: State) -> None:
    state.agency_key()
    state.write_env({})
    state.write_record(Record("native", "native", "2026-11-21"))
    (state.directory / "logs").mkdir()
    (state.directory / "somebody's.txt").touch()
    state.delete()
    assert [path.name for path in state.directory.iterdir()] == ["somebody's.txt"]
    (state.directory / "somebody's.txt").unlink()
    state.delete()
    assert not state.directory.exists()


@pytest.mark.parametrize(
    ("now", "week"),
    [
        (datetime(2017, 1, 28, 5, 0, tzinfo=UTC), "2017-01-28"),  # Saturday 00:00 in New York
        (datetime(2017, 1, 28, 4, 59, tzinfo=UTC), "2017-01-21"),
        (datetime(2017, 2, 4, 4, 59, tzinfo=UTC), "2017-01-28"),
        (datetime(2017, 7, 1, 4, 0, tzinfo=UTC), "2017-07-01"),  # summer time
    ],
)
def test_the_current_week_begins_on_a_saturday_in_new_york(now: datetime, week: str) -> None:
    assert current_week(now).isoformat() == week
