"""`python -m tests.support.command_server SOCKET`: a process with the commands' imports, which forks one for each.

A command is still a process with its own arguments, environment, output and exit code, but it saves half a
second of imports. One request and one response per connection, each a line of JSON:

    {"argv": ["verify", "2017-01-28"], "env": {...}, "out": "path", "err": "path"}    ->    {"code": 0}
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from socketserver import ForkingMixIn, StreamRequestHandler, UnixStreamServer

from services.cli.main import main

# The imports of commands, except `services.cli.console`, which reads the environment when it is imported.
_IMPORTS = (
    "faststream.kafka",
    "rich.progress",
    "services.aggregator.store",
    "services.importer.sending",
    "services.publisher.leader",
    "services.publisher.store",
    "services.runtime.migrations",
)


class _Forking(ForkingMixIn, UnixStreamServer):
    pass


class _Command(StreamRequestHandler):
    """Runs in the forked process."""

    def handle(self) -> None:
        request = json.loads(self.rfile.readline())
        os.environ.clear()
        os.environ.update(request["env"])
        for descriptor, name, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, request["out"], os.O_WRONLY),
            (2, request["err"], os.O_WRONLY),
        ):
            os.dup2(os.open(name, flags), descriptor)
        sys.argv = ["ddor", *request["argv"]]
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:  # like the top level of the interpreter
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        self.wfile.write(json.dumps({"code": code}).encode() + b"\n")


if __name__ == "__main__":
    for module in _IMPORTS:
        import_module(module)
    with _Forking(sys.argv[1], _Command) as server:
        server.serve_forever()
