"""Phrases that plain technical English avoids, and a search for them: python -m tests.support.prose

Reads Markdown without code, comments and string literals of programs, and all lines of other text files (SQL, YAML,
TOML, HTML). Prints `file:line: "phrase": advice` for each phrase, and each long commit subject. Exits with 1 if it
prints anything. To quote a phrase in Markdown, put it between the lines `<!-- prose off -->` and `<!-- prose on -->`.

The list is a help, not a measure of good text. If a rule finds a phrase in a legitimate sense, narrow its pattern and
add the sentence to tests/contract/test_prose.py.

Why not a prose linter: the npm and PyPI packages of vale download a program from GitHub, and vale does not check string
literals. proselint has no rules for these phrases, and its configuration cannot add any.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOLDERS = ("schemas", "services", "deploy", "docs", "tests", ".ci")
SUFFIXES = {".py", ".md", ".sql", ".yml", ".yaml", ".toml", ".html", ".css", ".sh", ".java", ".go", ".mjs", ".js", ""}
_PROGRAMS = {".java", ".go", ".mjs", ".js", ".sh"}
# Generated from models and docstrings; released, so that no text of them may change; the list itself.
SKIPPED = (
    "LICENSE",
    "deploy/migrations/0",
    "schemas/released/",
    "docs/asyncapi/",
    "docs/openapi/",
    "schemas/golden/",
    "tests/support/prose.py",
    "tests/contract/test_prose.py",
)
# The last commit before the limit on subjects.
BASE = "776535e1d04799996c372df0e56ea1f3377687c9"
LONGEST_SUBJECT = 72

_CODE = "\N{OBJECT REPLACEMENT CHARACTER}"
_STORE = r"(?:postgresql|database|table|topic|log|broker|ingest|publisher|journal)"
# A text may say something; a machine may not.
_TEXT = r"message|detail|sentence|text|comment|docstring|page|section|standard|law|header"
_ENDING = r"(?=\s*[.,;:)]|\s(?:in|on|at|and|or|for|beside|until|when)\b|$)"
_NOT_LATE = (
    r"(?! (?:\w+[-\s])?(?:prox(?:y|ies)|load balancer|balancer|nat|firewall|gateway|pooler|pgbouncer|nginx|scenes|log"
    r"|high watermark|end of the log)\b)"
)


class Rule(NamedTuple):
    """A phrase and what to write instead. A space in the pattern matches any white space, also a line break."""

    pattern: str
    advice: str
    example: str


RULES = (
    Rule(
        r"\bwhat (?:is|are|was|were) (?:no|not|never)\b(?![^.?!;]*\?)",
        "use a noun: 'invalid records'",
        "what is no event",
    ),
    Rule(
        r"\bwhat (?:came|comes|(?:is|are|was|were|has been|had been) (?!(?:expected|needed|required|allowed)\b)"
        r"(?:\w{2,}ed|sent|read|lost|there|due|left|written|known|done|gone|new))\b(?![^.?!;]*\?)",
        "use a noun: 'counted records', 'new records'",
        "what was counted stays",
    ),
    Rule(r"\bof (?:which|whom)\b", "start a new sentence, or use 'whose' or 'with'", "a batch of which a part failed"),
    Rule(r"\bwhoever\b", "name the role: 'the client', 'any operator'", "whoever cannot read"),
    Rule(r"(?<!and\s)\b(?:nobody|somebody)\b(?![:@])", "name the role: 'no client', 'an operator'", "nobody reads it"),
    Rule(
        r"(?<!those\s)\bwho (?:sends|reads|writes|holds|asks|asked|sent|owns)\b(?![^.!;]*\?)",
        "use the role: 'the sender', 'the owner'",
        "tell who asked",
    ),
    Rule(r"\b(?:is|are|was|were) to be\b", "use 'must be' or 'will be'", "the file is to be read"),
    Rule(r"\bso (?:many|few)\b", "use 'that number of'", "the newest so many"),
    Rule(rf"\bbehind (?:it|its|them|that|an?|the|each|every)\b{_NOT_LATE}", "use 'after'", "bytes behind the request"),
    Rule(r"\b(?:told|tells)\b", "use 'reports', 'shows', 'receives' or 'distinguishes'", "the client is told"),
    Rule(
        rf"\b(?!(?:{_TEXT})s?\b|\d)\w+ says\b|(?<!\w\s)(?<!\w)says\b|\bsaid\b",
        "use 'reports', 'states', 'shows' or 'describes'",
        "the log says why",
    ),
    Rule(r"\b(?:knows|knew|remembers|forgets|forgotten)\b", "use 'has', 'stores', 'drops'", "ingest forgets agencies"),
    Rule(r"\b(?:asks|(?:is|are|was|were|be) asked)\b", "use 'requests' or 'queries'", "it asks for both offsets"),
    Rule(rf"\b{_STORE} keeps\b", "use 'stores' or 'retains'", "the log keeps them"),
    Rule(
        r"\b(?:is|are|was|were|be|been) kept\b(?! (?:open|alive|apart|up|secret|in memory)\b)",
        "use 'is stored' or 'is retained'",
        "the bytes are kept",
    ),
    Rule(
        r"\b(?:stands|stood|stand still|stand (?:for|beside|in(?! for\b)))\b",
        "use 'is', 'means', 'stops'",
        "it stands for data",
    ),
    Rule(r"\blies? (?:in|on|at|below|above|beside|behind|between|within|outside)\b", "use 'is'", "it lies in a week"),
    Rule(rf"\bas (?:it is|they are|it was|they were)\b{_ENDING}", "use 'unchanged'", "leave it as it is."),
    Rule(r"\bdoors?\b", "use 'endpoint'", "refused at the door"),
    Rule(r"\bonly these\.", "say what is selected: 'Filter by reason code.'", "Only these."),
    Rule(r"\b(?:go|goes|went|gone) on\b", "use 'continues' or 'resumes'", "the partition goes on"),
    Rule(r"\banew\b", "use 'again', or 'recreated'", "the topic was made anew"),
    Rule(r"\bmend(?:s|ed|ing)?\b", "use 'fix' or 'correct'", "mend the cause"),
    Rule(
        r"\b(?:(?:is|are|was|were|be) answered|answer(?:s|ed)? (?:with )?[1-5]\d\d)\b",
        "use 'gets', 'returns' or 'responds with'",
        "a request is answered",
    ),
    Rule(r"\b(?:than|as) are (?:kept|served|read|sent|there|left|open)\b", "state the limit", "more than are kept"),
    Rule(r"\bfor want of\b", "use 'because ... is missing'", "refused for want of Kafka"),
    Rule(r"\bof ours\b", "use 'this project', 'internal'", "a defect of ours"),
    Rule(
        rf"\bthat (?:there (?:is|are|was|were)|(?:is|are|was|were) there)\b{_ENDING}",
        "use 'existing'",
        "all that there is.",
    ),
    Rule(
        r"\b(?:one|a|an) (?!second|minute|day|week|year|time|MB|GB)[a-z]+ an? (?:alert|agency|revision|partition|line"
        r"|record|service|process|decline|command|file|topic|row|client)\b",
        "use 'per': 'one runbook per alert'",
        "a runbook an alert",
    ),
)
_COMPILED = [
    (re.compile(rule.pattern.replace(" ", r"\s+"), re.IGNORECASE | re.MULTILINE), rule.advice) for rule in RULES
]


class Finding(NamedTuple):
    """Where a phrase is, and what to write instead."""

    path: str
    line: int
    phrase: str
    advice: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: "{self.phrase}": {self.advice}'


def findings(root: Path = ROOT) -> Iterator[Finding]:
    """Every avoided phrase in the project, by file."""
    for path in _files(root):
        relative = path.relative_to(root).as_posix()
        yield from sorted(
            Finding(relative, first_line + number, phrase, advice)
            for first_line, text in _texts(path)
            for number, phrase, advice in search(text)
        )


def search(text: str) -> Iterator[tuple[int, str, str]]:
    """The avoided phrases of a text: the number of line breaks before each, the phrase, and the advice."""
    for pattern, advice in _COMPILED:
        for found in pattern.finditer(text):
            yield text.count("\n", 0, found.start()), " ".join(found.group().split()), advice


def long_subjects(root: Path = ROOT) -> list[str] | None:
    """The commit subjects after `BASE` that are too long; None where the history is not available."""
    command = ["git", "-C", str(root), "log", "--no-merges", "--format=%h %s", f"{BASE}..HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [line for line in done.stdout.splitlines() if len(line.partition(" ")[2]) > LONGEST_SUBJECT]


def _files(root: Path) -> Iterator[Path]:
    inside = [path for folder in FOLDERS for path in (root / folder).rglob("*")]
    for path in sorted([*root.glob("*"), *inside]):
        relative = path.relative_to(root).as_posix()
        hidden = any(part == "__pycache__" or part == "node_modules" for part in path.parts)
        if path.is_file() and path.suffix in SUFFIXES and not hidden and not relative.startswith(SKIPPED):
            yield path


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """The prose of a file in parts, each with the number of its first line."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    if path.suffix == ".py":
        yield from _python(text)
    elif path.suffix == ".md":
        yield 1, _without_code(text)
    elif path.suffix in _PROGRAMS or text.startswith("#!"):
        yield 1, _comments_and_strings(text)
    else:
        # A comment that continues on the next line is one text.
        yield 1, re.sub(r"^[ \t]*(?:#+|--(?: name: .*)?|//|/?\*+)", "", text, flags=re.MULTILINE)


def _blank(found: re.Match[str]) -> str:
    # A placeholder, so that the words on both sides do not become one phrase.
    return _CODE + "\n" * found.group().count("\n")


def _without_code(text: str) -> str:
    off = r"<!-- prose off -->.*?<!-- prose on -->"
    text = re.sub(rf"{off}|^ *```.*?^ *```$", _blank, text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]+`", _blank, text)


def _comments_and_strings(text: str) -> str:
    parts = re.compile(r"/\*.*?\*/|(?<![\w:$])(?://|#|--)[^\n]*|\"[^\"\n]*\"|'[^'\n]*'", re.DOTALL)
    result, end = "", 0
    for found in parts.finditer(text):
        between = text[end : found.start()]
        # Only white space between two comments: one text.
        result += (between if not between.strip() else _CODE + "\n" * between.count("\n")) + found.group()
        end = found.end()
    return re.sub(r"^[ \t]*(?:#+|//|/?\*+)", "", result, flags=re.MULTILINE)


def _python(text: str) -> Iterator[tuple[int, str]]:
    yield from _comments(text)
    nodes = list(ast.walk(ast.parse(text)))
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else _CODE for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            if not any(character.isspace() for character in node.value):
                continue  # a name, not a sentence
            yield node.lineno, re.sub(r"``?[^`]+``?", _blank, node.value)


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Comments; those on consecutive lines are one text."""
    first, lines = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != first + len(lines):
                yield first, "\n".join(lines)
                first, lines = token.start[0], []
            lines.append(token.string.lstrip("# "))
    yield first, "\n".join(lines)


def main() -> int:
    """Print the findings."""
    found = [*(str(one) for one in findings()), *(f"subject too long: {line}" for line in long_subjects() or [])]
    sys.stdout.writelines(f"{one}\n" for one in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
