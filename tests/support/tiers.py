"""Test tiers: tests that only `make check` runs, numbers of generated examples, and the order of files.

`make unit` runs the folders that need no servers. `make test` runs every file but skips tests marked `long`.
`make check` adds `--long`, which includes them and generates more examples.
"""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

LONG = "--long"
_SAID = "long: "
_EXAMPLES = 50
_MANY_EXAMPLES = 600
_NEEDS_NOTHING = ("tests/unit", "tests/contract", "tests/wiring")
_SLOW_FIRST = ("chaos", "system", "browser", "integration", "wiring", "contract", "unit")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and Hypothesis's profiles. Tests do not set their own numbers of examples."""
    gc.disable()  # until all is collected
    config.addinivalue_line("markers", "long(reason): runs in `make check` alone; the reason names what it repeats")
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    settings.register_profile("few", max_examples=_EXAMPLES, deadline=None, suppress_health_check=slow)
    settings.register_profile("many", max_examples=_MANY_EXAMPLES, deadline=None, suppress_health_check=slow)
    settings.load_profile("many" if config.getoption(LONG) else "few")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip `long` tests by name. Run slow files first, so that no worker ends with one alone."""
    folders = {name: order for order, name in enumerate(_SLOW_FIRST)}
    items.sort(key=lambda item: folders.get(item.path.parent.name, len(folders)))
    if config.getoption(LONG):
        return
    for item in items:
        if marker := item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason=f"{_SAID}{marker.args[0]}"))


def pytest_collection_finish() -> None:
    """Exclude imported and collected objects from garbage collection: they live until the end."""
    gc.freeze()
    gc.enable()


def workers(wanted: object, *, parts_are_named: bool) -> int:
    """The number of workers for `-n logical` (cores plus one) and `-n auto` (twice the cores).

    Tests wait more than they compute, in particular for Kafka and PostgreSQL. With an external Kafka or
    PostgreSQL there is one worker, because tests then share topics and data.
    """
    cores = os.cpu_count() or 1
    if wanted == "logical":
        return cores + 1
    return 1 if parts_are_named else 2 * cores


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The skipped tests, and the command that runs them."""
    named = {path.rstrip("/") for path in config.args}
    if named == set(_NEEDS_NOTHING):
        terminalreporter.section("left to `make test`")
        terminalreporter.line(
            "tests on Kafka and PostgreSQL: integration, browser, system, chaos. Most of them: make test"
        )
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if _SAID in str(report.longrepr)]
    if skipped:
        terminalreporter.section("left to `make check`")
        for report in skipped:
            terminalreporter.line(f"  {report.nodeid}")
        terminalreporter.line(f"{len(skipped)} tests repeat at length what others show. All of them: make check")
