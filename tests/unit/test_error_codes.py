"""services.ingest.docs.error_codes: documents exactly the codes that the source code uses."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import schemas
from services.ingest.docs import error_codes
from services.ingest.docs.error_codes import ENTRIES, EVENT, STREAM

ROOT = Path(schemas.__path__[0]).parent
_HTTP_MODULES = ("connection_timeouts.py", "h11_connection.py", "http.py", "request_head.py")
SOURCES = [
    *(ROOT / "services" / "ingest").rglob("*.py"),
    *(ROOT / "services" / "runtime" / name for name in _HTTP_MODULES),
    *(
        ROOT / "schemas" / name
        for name in ("acceptance.py", "acceptance_fast.py", "detainer.py", "envelope.py", "tracing.py")
    ),
]
# The index of the argument that is the code, and of the one that is the HTTP status.
CALLS = {
    "Refused": (0, None),
    "PydanticCustomError": (0, None),
    "_broken": (0, None),
    "FramingError": (1, 0),
    "problem": (1, 0),
    "Fault": (1, 0),
    "_error": (0, None),
    "StreamEndedError": (0, None),
    "Receipt": (4, None),
}
PASSED_ON = {
    "_broken",
    "_http_error",
    "_refuse",
    "_rejected",
    "_take",
    "__call__",
    "judge",
    "of_one",
    "send_400_response",
    "stored",
}
"""Functions whose code is an argument."""


def constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def codes(tree: ast.Module, path: Path) -> Iterator[tuple[str, str]]:
    """(code, where it is used) for each use of a code in a file."""
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]:
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS:
                yield from called(node, function.name, path)
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                code = constant(node.value.elts[0])
                if isinstance(code, str):
                    yield code, EVENT
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "(code, detail)":
                code = constant(node.value.elts[0]) if isinstance(node.value, ast.Tuple) else None
                if isinstance(code, str):
                    yield code, EVENT
    for statement in tree.body:
        value = statement.value if isinstance(statement, ast.Assign) else None
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "Fault":
            yield from called(value, "", path)
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Dict):
            yield from listed(node)


def called(node: ast.Call, function: str, path: Path) -> Iterator[tuple[str, str]]:
    name = ast.unparse(node.func)
    where, status = CALLS[name]
    if len(node.args) <= where:
        return
    code = constant(node.args[where])
    if code is None:
        assert function in PASSED_ON, (
            f"{path.name}:{node.lineno}: {ast.unparse(node)} uses a code that is not a constant"
        )
        return
    assert isinstance(code, str)
    if status is not None:
        yield code, str(constant(node.args[status]))
    else:
        yield code, STREAM if name in {"_error", "StreamEndedError"} else EVENT


def listed(node: ast.AnnAssign | ast.Assign) -> Iterator[tuple[str, str]]:
    """The tables that map error codes of libraries to the project's codes."""
    target = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
    assert isinstance(node.value, ast.Dict)
    for key, value in zip(node.value.keys, node.value.values, strict=True):
        if target == "_PYDANTIC_CODES" and isinstance(value, ast.Tuple):
            yield str(constant(value.elts[0])), EVENT
        elif target == "codes" and key is not None:
            yield str(constant(value)), str(constant(key))


@pytest.fixture(scope="module")
def given() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for path in SOURCES:
        for code, where in codes(ast.parse(path.read_text(encoding="utf-8")), path):
            found[code].add(where)
    found["refused"].add("4xx")
    return found


def test_the_source_was_found() -> None:
    assert all(path.exists() for path in SOURCES)


def test_exactly_the_used_codes_are_documented(given: dict[str, set[str]]) -> None:
    assert {entry.code for entry in ENTRIES} == set(given)
    assert len({entry.code for entry in ENTRIES}) == len(ENTRIES)


def test_each_code_is_documented_where_it_is_used(given: dict[str, set[str]]) -> None:
    """A single event has its code as a problem. A stream has the error of its body on the last line."""
    for entry in ENTRIES:
        documented = set(entry.where.split())
        assert given[entry.code] - documented <= ({"400"} if EVENT in documented else set()), entry.code
        assert documented - given[entry.code] <= {STREAM}, entry.code


def test_a_code_is_words_and_hyphens_and_the_texts_are_sentences() -> None:
    for entry in ENTRIES:
        assert entry.code == entry.code.lower()
        assert entry.code.replace("-", "").isalnum()
        for text in (entry.meaning, entry.remedy):
            assert text.endswith(".")
            assert text[0].isupper() or text[0] == "`"


def test_the_page_is_up_to_date() -> None:
    assert error_codes.main(["--check"]) == 0


def test_the_page_has_a_section_for_each_code() -> None:
    lines = error_codes.page().splitlines()
    assert [line.removeprefix("### ") for line in lines if line.startswith("### ")] == [
        *(entry.code for entry in ENTRIES if entry.where.startswith(EVENT)),
        *(entry.code for entry in ENTRIES if not entry.where.startswith(EVENT)),
    ]


def test_an_outdated_page_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_codes, "PAGE", tmp_path / "errors.md")
    assert error_codes.main(["--check"]) == 1
    assert error_codes.main([]) == 0
    assert error_codes.main(["--check"]) == 0
