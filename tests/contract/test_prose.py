"""Pages, comments, docstrings, error details and help texts avoid the phrases in tests/support/prose.py."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support import prose

_ALLOWED = (
    "Run it behind a reverse proxy, behind the load balancer or behind PgBouncer.",
    "The aggregator falls behind; partition 3 is 25k records behind the end of the log.",
    "The bytes are stored as they were sent. A cell is as it was sent.",
    "What was sent? What is not counted, and why? is another question.",
    "A stand-in for Kafka; a standby; a standalone program.",
    "Once a second, one request a minute.",
    "Ask the agency. Tell the readers.",
    "The message says how. RFC 9110 says MUST. One report a week.",
    "A worker keeps its leases. The line is kept in memory. The users postgres and nobody.",
)


def test_no_text_has_an_avoided_phrase() -> None:
    by_file = defaultdict(list)
    for finding in prose.findings():
        by_file[finding.path].append(str(finding))
    assert not by_file, "\n" + "\n".join(line for lines in by_file.values() for line in lines)


def test_commit_subjects_are_short() -> None:
    subjects = prose.long_subjects()
    if subjects is None:
        pytest.skip("the git history is not available")
    assert not subjects, f"longer than {prose.LONGEST_SUBJECT} characters"


@pytest.mark.parametrize("rule", prose.RULES, ids=lambda rule: rule.example)
def test_a_rule_finds_its_example_also_across_lines(rule: prose.Rule) -> None:
    for text in (rule.example, rule.example.replace(" ", "\n"), rule.example.capitalize()):
        found = [advice for _, _, advice in prose.search(text)]
        assert rule.advice in found, text


@pytest.mark.parametrize("sentence", _ALLOWED)
def test_a_legitimate_sense_is_not_found(sentence: str) -> None:
    assert list(prose.search(sentence)) == []


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.py", '"""What is no event."""\nx = f"{1} is told"  # of\n# which\n', [1, 2, 2]),
        ("a.py", "said = anew = names['told']\n", []),
        ("a.md", "It is\nkept. `told`\n\n```\ntold\n```\n\ntold\n", [1, 8]),
        ("a.md", "<!-- prose off -->\ntold\n<!-- prose on -->\ntold\n", [4]),
        ("a.yml", "a: 1\n\n# the table is\n# kept\n", [3]),
        ("a.go", 'told := 1 // it is\n  // kept\nf(told, "told")\n', [1, 3]),
        ("run", "#!/bin/bash\n\n# a\nsaid=1 # anew\n", [4]),
        ("a.csv", "told\n", []),
    ],
)
def test_prose_is_found_by_file_and_line(tmp_path: Path, name: str, text: str, lines: list[int]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = list(prose.findings(tmp_path))
    assert [one.line for one in found] == lines
    assert all(re.fullmatch(rf'{name}:\d+: "[^"]+": .+', str(one)) for one in found)
