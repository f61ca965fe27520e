"""deploy.local.state: the files in the state directory."""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from pathlib import Path

import pytest

from deploy.local.state import Record, State


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


def test_the_agencys_key_is_reused_and_the_file_has_its_hash(state: State) -> None:
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


def test_the_record_is_read_as_written(state: State) -> None:
    assert state.read_record() is None
    record = Record("native", "docker", "2026-11-21", {"ingest": 8081})
    state.write_record(record)
    assert State(state.directory).read_record() == record


def test_only_the_stacks_own_files_are_deleted(state: State) -> None:
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
