"""services.importer.files: plain and gzipped files, and the bytes read as a measure of progress."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from services.importer.files import InputFile
from services.importer.rows import NotThisFileError

CONTENT = random.Random(1).randbytes(300_000) + b"\n"


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_the_bytes_read_grow_to_the_size_of_the_file(tmp_path: Path, pack: type[bytes]) -> None:
    path = tmp_path / "file"
    path.write_bytes(pack(CONTENT))
    file = InputFile(path)
    assert (file.bytes_read, file.bytes_total) == (0, path.stat().st_size)
    with file.open() as content:
        first = content.read(100_000)
        assert 0 < file.bytes_read < file.bytes_total
        assert first + content.read() == CONTENT
        assert file.bytes_read == file.bytes_total
    assert file.bytes_read == file.bytes_total


def test_damaged_compressed_data_are_reported_where_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(CONTENT, mtime=0)[:-9])
    with pytest.raises(NotThisFileError, match="damaged"), InputFile(path).open() as content:
        content.read()
