"""The cells of one row of a worksheet, from its XML.

Two readers give the same cells. The fast one takes the form that spreadsheet programs write and only the columns asked
for. A row in another form goes to `expat`, an XML parser. 600,000 rows of 65 cells leave no time for the parser alone:
docs/decisions/0020-released-files.md has the measurements.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from xml.parsers import expat

from services.importer.rows import NotThisFileError
from services.importer.tables.sheet import Cell
from services.importer.tables.texts import SharedTexts

_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_KIND = re.compile(rb"\bt=[\"'](\w+)")
_REFERENCE = re.compile(r"([A-Z]{1,3})[0-9]+")
_PHONETIC = re.compile(rb"<(?:\w+:)?rPh\b.*?</(?:\w+:)?rPh>", re.DOTALL)


def plain_text(raw: bytes) -> str:
    """The text that XML bytes mean."""
    text = raw.decode("utf-8", "replace")
    if "&" in text:
        text = html.unescape(text)
    if "_x" in text:
        text = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    return text


def texts_of(piece: bytes, prefix: bytes) -> bytes:
    """The text of a shared entry: its runs joined, without phonetic hints."""
    if b"rPh" in piece:
        piece = _PHONETIC.sub(b"", piece)
    return b"".join(re.findall(rb"<" + prefix + rb"t(?:\s[^>]*)?>([^<]*)<", piece))


def letters(column: int) -> str:
    """The column's name: A for 0, Z for 25, AA for 26."""
    name, left = "", column + 1
    while left:
        left, digit = divmod(left - 1, 26)
        name = chr(65 + digit) + name
    return name


class RowReader:
    """Reads the rows of one worksheet: all cells, or those of some columns."""

    def __init__(self, prefix: bytes, columns: Sequence[int] | None, texts: SharedTexts) -> None:
        """`prefix` is the namespace prefix with its colon, mostly empty; `columns` None means all."""
        self._texts = texts
        self._columns = columns
        self._row = b"<" + prefix + b"row"
        self._open, self._usual = b"<" + prefix + b"c ", b"<" + prefix + b'c r="'
        self._bare = b"<" + prefix + b"c>"
        self._rich = b"<" + prefix + b"is><" + prefix + b"r"
        self._value, self._text = b"<" + prefix + b"v", b"<" + prefix + b"t"
        wanted = [letters(column).encode() for column in columns or ()]
        self._index_of = {name: index for index, name in enumerate(wanted)}
        self._cell = re.compile(
            b'<%(p)sc r="(%(names)s)[0-9]++"([^>]*+)>'
            b"(?:<%(p)sf[^>]*+>(?:[^<]*+</%(p)sf>)?)?"
            b"(?:<%(p)sv[^>]*+>([^<]*+)</%(p)sv>|<%(p)sis><%(p)st[^>]*+>([^<]*+)</%(p)st></%(p)sis>)?"
            % {b"p": prefix, b"names": b"|".join(sorted(wanted, reverse=True)) or b"-"}
        )

    def read(self, piece: bytes, before: int) -> tuple[int, list[Cell] | None]:
        """The number of the row that ends this piece, and its cells; None if all are empty.

        `before` is the number of the row before. Raises NotThisFileError for damaged XML.
        """
        begin = piece.rfind(self._row)
        if begin < 0:
            raise NotThisFileError(f"the file is damaged: row {before + 1} has no beginning")
        tag = piece[begin : piece.find(b">", begin) + 1]
        given = re.search(rb"\sr=[\"']([0-9]{1,9})[\"']", tag)
        number = int(given[1]) if given else before + piece.count(self._row + b" ") + piece.count(self._row + b">")
        row = piece[begin:]
        if self._value not in row and self._text not in row:
            return number, None
        return number, self._fast(row, number) if self._is_usual(row) else self._slow(row, number)

    def _is_usual(self, row: bytes) -> bool:
        return (
            self._columns is not None
            and row.count(self._open) == row.count(self._usual)
            and self._bare not in row
            and b"<!" not in row
            and self._rich not in row
        )

    def _fast(self, row: bytes, number: int) -> list[Cell]:
        cells: list[Cell] = [None] * len(self._index_of)
        index_of, text_of, count = self._index_of, self._texts.get, len(self._texts)
        for name, attributes, value, text in self._cell.findall(row):
            if value and b't="s"' in attributes and value.isdigit() and (index := int(value)) < count:
                cells[index_of[name]] = text_of(index)
            elif value:
                kind = _KIND.search(attributes)
                cells[index_of[name]] = self._cell_of(kind[1] if kind else b"n", value, number)
            elif text:
                cells[index_of[name]] = plain_text(text)
        return cells

    def _cell_of(self, kind: bytes, value: bytes, number: int) -> Cell:
        if kind == b"s":
            try:
                return self._texts.get(int(value))
            except (IndexError, ValueError):
                raise NotThisFileError(f"the file is damaged: row {number} names a text that is not there") from None
        if kind == b"n":
            try:
                return float(value)
            except ValueError:
                return plain_text(value)
        if kind == b"b":
            return "TRUE" if value == b"1" else "FALSE"
        return None if kind == b"e" else plain_text(value)

    def _slow(self, row: bytes, number: int) -> list[Cell]:
        found = _Parsed()
        try:
            found.parse(row + b"</" + self._row[1:] + b">")
        except (expat.ExpatError, ValueError) as error:
            raise NotThisFileError(f"the file is damaged: row {number}: {error}") from error
        made = {
            column: self._cell_of(kind.encode(), value.encode(), number) if kind != "inlineStr" else value
            for column, kind, value in found.cells
            if value
        }
        wanted = self._columns if self._columns is not None else range(max(made, default=-1) + 1)
        return [made.get(column) for column in wanted]


class _Parsed:
    """The cells of a row as (column, kind, text), by the XML parser."""

    def __init__(self) -> None:
        self.cells: list[tuple[int, str, str]] = []
        self._column, self._kind = -1, "n"
        self._text: list[str] = []
        self._within: list[str] = []

    def parse(self, row: bytes) -> None:
        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.Parse(row, True)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        self._within.append(name)
        if name == "c":
            self._column = _index(attributes["r"]) if "r" in attributes else self._column + 1
            self._kind = attributes.get("t", "n")
            self._text = []

    def _end(self, _: str) -> None:
        if self._within.pop() == "c":
            self.cells.append((self._column, self._kind, "".join(self._text)))

    def _data(self, text: str) -> None:
        last = self._within[-1]
        if last == "v" or (last == "t" and "is" in self._within and "rPh" not in self._within):
            self._text.append(text)


def _index(reference: str) -> int:
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ValueError(f"{reference!r} is not the name of a cell")
    index = 0
    for letter in match[1]:
        index = index * 26 + ord(letter) - 64
    return index - 1
