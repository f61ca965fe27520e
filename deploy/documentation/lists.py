"""Lists of CommonMark, as code hosts read them, rewritten for Python-Markdown. Pure.

CommonMark indents the content of an item to the width of its marker, and a list may follow a paragraph directly.
Python-Markdown requires four columns for each level, and an empty line before a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ITEM = re.compile(r"(?P<marker>[-*+]|\d{1,9}[.)]) +(?=\S)")
_FENCE = re.compile(r"`{3,}|~{3,}")
_LEVEL = 4


def indented(markdown: str) -> str:
    """The same text with four columns for each level of a list, and an empty line before each list."""
    return "\n".join(_Rewriter().lines(markdown.split("\n")))


class _Rewriter:
    def __init__(self) -> None:
        self.contents: list[int] = []  # of each open item, the column of its content
        self.fence = ""  # of the open block of code
        self.is_paragraph = False  # whether the line before is text that the next line may continue
        self.is_loose = False  # whether an empty line follows the last marker
        self.is_after_text = False  # whether the line before is not empty

    def lines(self, lines: list[str]) -> Iterator[str]:
        for line in lines:
            column = len(line) - len(line.lstrip(" "))
            yield from self._fenced(column, line[column:]) if self.fence else self._line(column, line[column:])
            self.is_after_text = bool(line.strip())

    def _fenced(self, column: int, text: str) -> Iterator[str]:
        yield self._moved(column, text)
        self.fence = "" if text.rstrip() == self.fence else self.fence

    def _line(self, column: int, text: str) -> Iterator[str]:
        item = _ITEM.match(text)
        is_first = not self.contents or column >= self.contents[-1]
        if item and is_first and self.is_paragraph and item["marker"][:-1] not in ("", "1"):
            item = None  # a list that begins with another number needs an empty line in CommonMark, too
        if item and self.is_after_text and (self.is_loose or (self.is_paragraph and not self.contents)):
            yield ""
        if text and (item or not self.is_paragraph):
            self._close(column)
        yield self._moved(column, text)
        self.is_loose = not item and (self.is_loose or not text)
        if item:
            self.contents.append(column + item.end())
        elif fence := _FENCE.match(text):
            self.fence = fence[0]
        self.is_paragraph = bool(text) and not item and not self.fence and not text.startswith(("#", "|", "<!--"))

    def _close(self, column: int) -> None:
        """Close the items to whose content the column does not belong."""
        while self.contents and column < self.contents[-1]:
            self.contents.pop()

    def _moved(self, column: int, text: str) -> str:
        if not text:
            return ""
        own = self.contents[-1] if self.contents else 0
        return " " * (_LEVEL * len(self.contents) + max(column - own, 0)) + text
