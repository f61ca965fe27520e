"""HTTP clients and ingest: each client stores all its events, in each form in which it sends bodies.

Missing clients are skipped by name. The examples of the client guide are tested elsewhere; these tests are about
framing only, with a fake Kafka.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.agencies import LAS_VEGAS, key_of
from tests.support.raw_client import raw
from tests.support.serving import Site, ingest
from tests.support.waiting import until
from tests.unit.sample_events import encoded, event

PROBES = Path(__file__).parents[1] / "support" / "http_probes"
LINES = 300
"""Several windows of a stream. More would take too long to validate."""
SLOWEST = 120.0
"""Timeout of a client. The first start of a compiler can take half a minute."""


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with ingest(tmp_path_factory.mktemp("ingest")) as one:
        yield one


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("bodies")
    single, lines = directory / "event.json", directory / "lines.ndjson"
    single.write_bytes(encoded(event()))
    lines.write_bytes((encoded(event()) + b"\n") * LINES)
    return single, lines


def tool(name: str) -> str:
    """The program, or skip the test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on this machine")
    return found


async def output(*command: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(SLOWEST):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def all_stored(site: Site, bodies: tuple[Path, Path], forms: tuple[str, ...], *command: str | Path) -> None:
    before = len(site.producer.stored)
    url = f"http://127.0.0.1:{site.port}/v1/events"
    printed = await output(*command, url, key_of(LAS_VEGAS), *bodies)
    assert printed.splitlines() == [f"{form} {line}" for form in forms for line in ("202 1", f"207 {LINES}")]
    assert len(site.producer.stored) - before == len(forms) * (1 + LINES)


async def test_java(site: Site, bodies: tuple[Path, Path]) -> None:
    """By default it requests h2c with the first request of a connection."""
    if "jdk.compiler" not in await output(tool("java"), "--list-modules"):
        pytest.skip("java is here, and its compiler is not")
    await all_stored(site, bodies, ("default", "http1", "expect", "chunked"), tool("java"), PROBES / "Probe.java")


async def test_go(site: Site, bodies: tuple[Path, Path], tmp_path: Path) -> None:
    built = tmp_path / "probe"
    await output(tool("go"), "build", "-o", built, PROBES / "probe.go")
    await all_stored(site, bodies, ("default", "expect", "chunked"), built)


async def test_node(site: Site, bodies: tuple[Path, Path]) -> None:
    """Its fetch is undici."""
    await all_stored(site, bodies, ("fetch", "stream", "http", "expect"), tool("node"), PROBES / "probe.mjs")


CURL = {
    "1.0": ["--http1.0"],
    "1.1": ["--http1.1"],
    "h2c": ["--http2"],
    "expect": ["-H", "Expect: 100-continue", "--expect100-timeout", "15"],
    "chunked": ["-H", "Transfer-Encoding: chunked"],
    "chunked h2c": ["--http2", "-H", "Transfer-Encoding: chunked", "-H", "Expect:"],
}


def curl_commands(url: str, bodies: tuple[Path, Path], options: list[str]) -> list[list[str | Path]]:
    media_types = ("application/cloudevents+json", "application/x-ndjson")
    fixed = [tool("curl"), "-sS", "--max-time", "20", "-H", f"Authorization: Bearer {key_of(LAS_VEGAS)}", *options]
    return [
        [*fixed, "-H", f"Content-Type: {media_type}", "--data-binary", f"@{body}", "-w", "%{http_code}", url]
        for media_type, body in zip(media_types, bodies, strict=True)
    ]


@pytest.mark.parametrize("form", CURL)
async def test_curl(site: Site, bodies: tuple[Path, Path], form: str) -> None:
    await curl_stores(site, f"http://127.0.0.1:{site.port}/v1/events", bodies, CURL[form])


async def curl_stores(site: Site, url: str, bodies: tuple[Path, Path], options: list[str]) -> None:
    for command, status, count in zip(curl_commands(url, bodies, options), (202, 207), (1, LINES), strict=True):
        before = len(site.producer.stored)
        printed = await output(*command)
        assert printed.endswith(str(status)), printed
        assert printed.count('"status":"accepted"') == count
        assert len(site.producer.stored) - before == count


async def test_curl_with_only_http_2_gets_505(site: Site) -> None:
    """It reports the refusal as a broken connection, but must not parse it as HTTP/2."""
    async with raw(site.port) as client:
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        response = await client.response()
        assert response is not None
        assert response.status == 505


NGINX = """\
daemon off;
error_log stderr;
pid {directory}/nginx.pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u;
  scgi_temp_path {directory}/s;
  upstream ingest {{ server 127.0.0.1:{upstream}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://ingest;
      proxy_http_version {version};
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering {buffering};
    }}
  }}
}}
"""


@asynccontextmanager
async def nginx(directory: Path, upstream: int, version: str, buffering: str) -> AsyncIterator[str]:
    """The address of a proxy in front of ingest."""
    program = tool("nginx")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    file = directory / "nginx.conf"
    file.write_text(
        NGINX.format(directory=directory, upstream=upstream, port=port, version=version, buffering=buffering)
    )
    if os.geteuid() == 0:
        file.write_text("user root;\n" + file.read_text())  # otherwise its workers cannot write to the directory
    process = await asyncio.create_subprocess_exec(
        program, "-p", str(directory), "-c", str(file), stderr=asyncio.subprocess.DEVNULL
    )

    async def listens() -> bool:
        assert process.returncode is None, "nginx has exited"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await until(listens, "nginx to listen", 20)
        yield f"http://127.0.0.1:{port}/v1/events"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize(("version", "buffering"), [("1.0", "on"), ("1.1", "on"), ("1.1", "off")])
async def test_nginx_in_front(
    site: Site, bodies: tuple[Path, Path], tmp_path: Path, version: str, buffering: str
) -> None:
    async with nginx(tmp_path, site.port, version, buffering) as url:
        for options in ([], CURL["chunked"], CURL["expect"]):
            await curl_stores(site, url, bodies, options)
