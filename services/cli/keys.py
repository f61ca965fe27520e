"""`ddor keys`: bearer keys for agencies. The key is shown once; the agencies file gets its SHA-256 alone."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Annotated

import typer

from services.cli.terminal import err, mends, out
from services.runtime.errors import CallerError

app = typer.Typer(help="Bearer keys of agencies.", no_args_is_help=True)

_KEY_BYTES = 32


@app.callback()
def _group() -> None:
    pass


@app.command("new")
@mends
def new(
    agency: Annotated[str, typer.Option(help="Whose key it is: only said in what is printed.")] = "the agency",
    valid_to: Annotated[
        str | None, typer.Option(help="When it expires: a date (its beginning, UTC) or an RFC 3339 instant.")
    ] = None,
) -> None:
    """Print a new random key, once, and the line that makes it known.

    To change a key: put the new digest beside the old one in key_sha256 of the agency's table in DDOR_AGENCIES_FILE,
    give the agency the new key, and take the old digest out when it uses the new one; or give the old one an end,
    { sha256 = "..", valid_to = 2027-01-01T00:00:00Z } in place of "..". Ingest reads the file again within a second; no
    restart is needed. An agency may have any number of live keys.

    To revoke a key: take its digest out. To end all of an agency's keys at an instant: valid_to in its table.
    """
    expires = None if valid_to is None else _instant(valid_to)
    key = secrets.token_urlsafe(_KEY_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    entry = f'"{digest}"' if expires is None else f'{{ sha256 = "{digest}", valid_to = {expires} }}'
    err.print(f"Give this key to {agency}; it is not kept and cannot be shown again:", highlight=False, soft_wrap=True)
    out.print(key, highlight=False, soft_wrap=True)
    err.print(f"And its digest to the table of {agency} in the agencies file:", highlight=False, soft_wrap=True)
    out.print(f"key_sha256 = [{entry}]", markup=False, highlight=False, soft_wrap=True)


def _instant(text: str) -> str:
    """As TOML writes it, in UTC; a date is its first instant. CallerError when it is none."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise CallerError("--valid-to must be a date (2027-01-01) or an RFC 3339 instant with an offset") from None
    if instant.tzinfo is None:
        if len(text) > len("2027-01-01"):
            raise CallerError("--valid-to must carry an offset, such as Z")
        instant = instant.replace(tzinfo=UTC)
    try:
        return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except OverflowError:
        raise CallerError("--valid-to must lie between the years 1 and 9999 in UTC") from None
