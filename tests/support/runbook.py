"""Runs the commands of docs/backup-and-restore.md as they are written there, so that the page is proven."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from deploy.local.postgres_install import Account

_PAGE = Path(__file__).parents[2] / "docs" / "backup-and-restore.md"
_BLOCK = re.compile(r"^ *<!-- run: ([a-z-]+) -->\n *```\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_SECONDS = 300


@cache
def blocks() -> Mapping[str, str]:
    """The commands of the page by the name in the comment before them."""
    found = _BLOCK.findall(_PAGE.read_text(encoding="utf-8"))
    by_name = {name: textwrap.dedent(commands) for name, commands in found}
    assert len(by_name) == len(found), "each name is used once"
    return by_name


async def run(
    name: str, variables: Mapping[str, str], programs: Path | None = None, user: Account | None = None
) -> str:
    """Run a block with bash and these environment variables, as this user. It must succeed. Returns its output.

    `programs` is the directory of PostgreSQL's programs.
    """
    directories = [str(programs)] if programs else []
    path = os.pathsep.join([*directories, str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["bash", "-euo", "pipefail", "-c", blocks()[name]]
    done = await asyncio.to_thread(
        subprocess.run, command, env={**variables, "PATH": path}, cwd="/", capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=_SECONDS, user=user.uid if user else None, group=user.gid if user else None,
        extra_groups=[] if user else None,
    )  # fmt: skip
    assert done.returncode == 0, f"{name}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr
