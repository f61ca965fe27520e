"""`ddor`, the one command. Exit codes: 0 done, 1 failed, 2 wrong use or settings."""

from __future__ import annotations

import typer

from services.cli import (
    closing,
    importing,
    keys,
    recovering,
    rejects,
    releasing,
    resuming,
    schema,
    serving,
    status,
    topics,
    tracing,
    verifying,
)

app = typer.Typer(
    name="ddor",
    help="The weekly detainer report: exact weekly counts, closed on evidence.\n\n"
    "Settings are environment variables with the prefix DDOR_ (see docs/settings.md); "
    "after `make up`, `source .local/env` sets them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(serving.ingest, name="ingest")
app.add_typer(serving.aggregator, name="aggregator")
app.add_typer(serving.publisher, name="publisher")
app.add_typer(topics.app, name="topics")
app.add_typer(keys.app, name="keys")
app.command("migrate")(schema.migrate)
app.command("status")(status.status)
app.command("import")(importing.import_file)
app.command("close")(closing.close)
app.command("release")(releasing.release)
app.command("restate")(releasing.restate)
app.command("withdraw-lines")(releasing.withdraw_lines)
app.command("recover")(recovering.recover)
app.command("verify")(verifying.verify)
app.command("trace")(tracing.trace)
app.command("resume")(resuming.resume)
app.add_typer(rejects.app, name="rejected")

if __name__ == "__main__":
    app()
