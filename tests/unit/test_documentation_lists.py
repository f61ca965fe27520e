"""Lists of CommonMark have the same structure in Python-Markdown after `lists.indented`."""

from __future__ import annotations

import re

import markdown
import pytest
from markdown_it import MarkdownIt

from deploy.documentation.lists import indented

_CASES = {
    "nested by the width of its marker": "- one\n  - two\n    - three\n- four\n",
    "a paragraph and code within an item": "1. one\n\n   more\n\n   ```\n   code\n     deeper\n   ```\n2. two\n",
    "directly after a paragraph": "text:\n- one\n- two\n",
    "another number is no list": "exit code\n2. A service\n",
    "a list within an item, after its paragraph": "1. one\n\n   more:\n   - inner\n\n2. two\n",
    "an item that continues, then its list": "- one\n  more\n  - inner\n- two\n",
    "a continuation without indentation": "- one\nmore\n- two\n",
    "text after a list": "- one\n\ntext\n\n- two\n",
    "a marker in code": "```\n- no list\n  - no list\n```\n\n- one\n",
    "a number of two digits": "9. nine\n10. ten\n\n    more\n",
}


@pytest.mark.parametrize("text", _CASES.values(), ids=_CASES)
def test_a_list_has_the_structure_of_commonmark(text: str) -> None:
    html = markdown.markdown(indented(text), extensions=["sane_lists", "pymdownx.superfences"])
    assert _tags(html) == _tags(MarkdownIt("commonmark").render(text))


def _tags(html: str) -> list[str]:
    """Lists, items and code. A paragraph within an item is left out: it only changes the distance of lines."""
    return re.findall(r"</?(?:ol|ul|li|pre)\b", html)
