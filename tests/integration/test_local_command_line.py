"""`python -m deploy.local` from a terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deploy.local.probes import kafka_answers, postgres_answers
from deploy.local.state import State

# A fake command line: commands that succeed, and services that are ready.
COMMAND_LINE = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

if sys.argv[-1] == "serve":
    port = int(os.environ[f"DDOR_{sys.argv[1].upper()}_PORT"])
    HTTPServer((os.environ["DDOR_HOST"], port), Ready).serve_forever()
"""


def test_up_and_down_from_the_command_line(tmp_path: Path) -> None:
    """The background processes outlive the command, and the next command finds them."""
    stand_in = tmp_path / "services" / "cli"
    stand_in.mkdir(parents=True)
    (stand_in / "main.py").write_text(COMMAND_LINE)
    state = State(tmp_path / ".local")

    def local(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "deploy.local", *words]
        # With -m, the current directory is first on the path, so the fake replaces the real command line.
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    try:
        code, output = local("up", "--kafka", "embedded", "--postgres", "native")
        assert (code, output.count("is ready at")) == (0, 3), output
        variables = state.read_env()
        assert kafka_answers(variables["DDOR_KAFKA_BOOTSTRAP"])
        assert postgres_answers(variables["DDOR_POSTGRES_DSN"])
        assert local("status")[0] == 0
        code, output = local("up")
        assert code == 0, output
        assert state.read_env() == variables
        code, output = local("up", "--kafka", "native")
        assert (code, "down --delete" in output) == (1, True), output
    finally:
        code, output = local("down", "--delete")
    assert code == 0, output
    assert not kafka_answers(variables["DDOR_KAFKA_BOOTSTRAP"])
    assert not state.directory.exists()
    assert local("down")[0] == 0
