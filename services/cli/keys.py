"""`ddor keys new`: create a bearer key for an agency. The agencies file contains only its SHA-256."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Annotated

import typer

from services.cli.console import err, out, report_caller_errors
from services.runtime.errors import CallerError

app = typer.Typer(help="Create bearer keys for agencies.", no_args_is_help=True)

_KEY_BYTES = 32


@app.callback()
def _group() -> None:
    pass


@app.command("new")
@report_caller_errors
def new(
    agency: Annotated[str, typer.Option(help="Name of the agency, for the printed instructions only.")] = "the agency",
    valid_to: Annotated[
        str | None,
        typer.Option(
            help="When the key expires: an RFC 3339 time, such as 2027-01-01T00:00:00Z, or a date (0:00 UTC)."
            " Without it, the key does not expire."
        ),
    ] = None,
) -> None:
    """Print a new random key and the line for the agencies file.

    The key is shown once and is not stored; the agencies file contains only its SHA-256 digest. Ingest reads changes of
    the file within a second, without a restart.

    To add the key, put its digest into key_sha256 in the agency's table in DDOR_AGENCIES_FILE. An agency may have any
    number of keys.

    To replace a key, add the new digest beside the old one and give the agency the new key. Remove the old digest when
    the agency uses the new key, or let the old key expire: write { sha256 = "..", valid_to = 2027-01-01T00:00:00Z }
    instead of "..".

    To revoke a key, remove its digest. To end all keys of an agency at a given time, set valid_to in its table.
    """
    expires = None if valid_to is None else _instant(valid_to)
    key = secrets.token_urlsafe(_KEY_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    entry = f'"{digest}"' if expires is None else f'{{ sha256 = "{digest}", valid_to = {expires} }}'
    err.print(f"Give this key to {agency}. It is not stored, so it is shown only now:", highlight=False, soft_wrap=True)
    out.print(key, highlight=False, soft_wrap=True)
    err.print(f"Add its digest to the table of {agency} in the agencies file:", highlight=False, soft_wrap=True)
    out.print(f"key_sha256 = [{entry}]", highlight=False, soft_wrap=True)


def _instant(text: str) -> str:
    """The time as a TOML value, in UTC. A date means its beginning. Raises CallerError."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise CallerError("--valid-to must be a date (2027-01-01) or an RFC 3339 instant with an offset") from None
    if instant.tzinfo is None:
        if len(text) > len("2027-01-01"):
            raise CallerError("--valid-to needs an offset from UTC, such as Z in 2027-01-01T00:00:00Z")
        instant = instant.replace(tzinfo=UTC)
    try:
        return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except OverflowError:
        raise CallerError("--valid-to must be between the years 1 and 9999 in UTC") from None
