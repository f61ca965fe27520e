"""`ddor keys new`: a new random key, and its digest for the agencies file."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from services.cli.main import command
from services.runtime import agencies


def new(*arguments: str) -> tuple[str, str]:
    """The key and the line for the agencies file, from standard output."""
    result = CliRunner().invoke(command("keys"), ["keys", "new", *arguments])
    assert result.exit_code == 0
    key, line = result.stdout.splitlines()
    return key, line


def file(line: str) -> agencies.Agencies:
    """An agencies file with the printed line."""
    return agencies.parse(
        f'[[agency]]\nname = "ice-las-vegas"\n{line}\nkinds = ["issued"]\njurisdictions = ["*"]\n'.encode()
    )


def test_the_printed_line_makes_the_key_valid() -> None:
    key, line = new("--agency", "ice-las-vegas")
    assert tomllib.loads(line)["key_sha256"]
    known = file(line)
    found = known.by_key(key)
    assert found is not None
    assert found.agency.name == "ice-las-vegas"
    assert known.by_key(key[:-1]) is None


@pytest.mark.parametrize("valid_to", ["2027-01-01", "2026-12-31T19:00:00-05:00", "2027-01-01T00:00:00Z"])
def test_a_key_with_an_end_is_valid_until_then(valid_to: str) -> None:
    key, line = new("--valid-to", valid_to)
    found = file(line).by_key(key)
    assert found is not None
    end = datetime(2027, 1, 1, tzinfo=UTC)
    assert found.may_send(end - timedelta(seconds=1))
    assert not found.may_send(end)


@pytest.mark.parametrize(
    "valid_to",
    [
        "soon",
        "2027-01-01T00:00:00",
        "2027-13-01",
        "9999-12-31T23:59:59-05:00",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31 23:59:59-05:00",
    ],
)
def test_an_invalid_end_is_refused(valid_to: str) -> None:
    result = CliRunner().invoke(command("keys"), ["keys", "new", "--valid-to", valid_to])
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit), "a sentence, no traceback"
    assert result.stdout == ""
    assert "--valid-to" in result.stderr


@pytest.mark.parametrize("valid_to", ["9999-12-31T23:59:59Z", "0987-01-01"])
def test_the_printed_end_is_toml_in_any_year(valid_to: str) -> None:
    assert (
        tomllib.loads(new("--valid-to", valid_to)[1])["key_sha256"][0]["valid_to"].isoformat().startswith(valid_to[:10])
    )


def test_each_key_is_different_and_fits_a_header() -> None:
    keys = {new()[0] for _ in range(20)}
    assert len(keys) == 20
    assert all(len(key) >= 43 and key.isascii() and key.isprintable() and " " not in key for key in keys)


def test_the_key_is_not_printed_to_standard_error() -> None:
    result = CliRunner().invoke(command("keys"), ["keys", "new", "--agency", "ice-new-york"])
    assert "ice-new-york" in result.stderr
    assert result.stdout.splitlines()[0] not in result.stderr


def test_the_help_explains_how_to_replace_a_key() -> None:
    text = " ".join(CliRunner().invoke(command("keys"), ["keys", "new", "--help"]).stdout.split())
    for words in ("beside the old one", "Remove the old digest", "without a restart", "revoke"):
        assert words in text
