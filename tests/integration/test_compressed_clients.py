"""Compressed responses of the publisher over real sockets, read by curl."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.integration.test_http_clients import output, tool
from tests.integration.test_stream_clients import publisher
from tests.support.compressing import zstd
from tests.unit.sample_reader import Pool

_DECODE: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": zstd.decompress, "identity": bytes}


@pytest.fixture(scope="module")
async def port() -> AsyncIterator[int]:
    async with publisher(Pool()) as port:
        yield port


@pytest.mark.parametrize("accepted", [None, "gzip", "zstd", "identity"])
@pytest.mark.parametrize("path", ["/", "/v1/reports/latest.json"])
async def test_curl_reads_compressed_responses(port: int, tmp_path: Path, path: str, accepted: str | None) -> None:
    url = f"http://127.0.0.1:{port}{path}"
    plain, sent, head = tmp_path / "plain", tmp_path / "sent", tmp_path / "head"
    curl = [tool("curl"), "-sS"]
    await output(*curl, "-o", plain, url)
    if accepted is None:
        await output(*curl, "--compressed", "-o", sent, url)
        assert sent.read_bytes() == plain.read_bytes()
        return
    await output(*curl, "-H", f"Accept-Encoding: {accepted}", "-D", head, "-o", sent, url)
    assert _DECODE[accepted](sent.read_bytes()) == plain.read_bytes()
    fields = head.read_text().lower()
    assert (f"content-encoding: {accepted}" in fields) == (accepted != "identity")
    assert f"content-length: {os.stat(sent).st_size}" in fields
    tag = re.search(r"(?im)^etag: (.*?)\r?$", head.read_text())
    assert tag
    status = await output(
        *curl, "-o", os.devnull, "-w", "%{http_code}", "-H", f"If-None-Match: {tag[1]}", "--compressed", url
    )
    assert status == "304"
    headed = await output(*curl, "--head", "-H", f"Accept-Encoding: {accepted}", url)
    assert f"content-length: {os.stat(sent).st_size}" in headed.lower()
