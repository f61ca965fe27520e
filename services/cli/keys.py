"""`ddor keys`: bearer keys for agencies. The key is shown once; the agencies file gets its SHA-256 alone."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated

import typer

from services.cli.terminal import err, out

app = typer.Typer(help="Bearer keys of agencies.", no_args_is_help=True)

_KEY_BYTES = 32


@app.callback()
def _group() -> None:
    pass


@app.command("new")
def new(
    agency: Annotated[str, typer.Option(help="Whose key it is: only said in what is printed.")] = "the agency",
) -> None:
    """Print a new random key, once, and the line that makes it known.

    To change a key: put the new digest beside the old one in key_sha256 of the agency's table in DDOR_AGENCIES_FILE,
    give the agency the new key, and take the old digest out when it uses the new one. Ingest reads the file again
    within a second; no restart is needed. An agency may have any number of live keys.

    To revoke a key: take its digest out. To end all of an agency's keys at an instant: valid_to in its table.
    """
    key = secrets.token_urlsafe(_KEY_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    err.print(f"Give this key to {agency}; it is not kept and cannot be shown again:", highlight=False, soft_wrap=True)
    out.print(key, highlight=False, soft_wrap=True)
    err.print(f"And its digest to the table of {agency} in the agencies file:", highlight=False, soft_wrap=True)
    out.print(f'key_sha256 = ["{digest}"]', markup=False, highlight=False, soft_wrap=True)
