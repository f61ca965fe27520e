"""services.publisher.static_site.writer: a copy of a small site."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from services.runtime.errors import InvariantError
from tests.unit.sample_site import HTML, JSON, Small, times, tree


@pytest.fixture
def site() -> Small:
    return Small()


async def test_pages_of_any_kind_are_found_by_links_and_all_links_are_files(site: Small, tmp_path: Path) -> None:
    done = await site.write(tmp_path)
    files = tree(tmp_path)
    assert files["index.html"] == (b'<a href="states/NV/index.html">NV</a> <a>docs</a> <a>desk</a>'), (
        "what the copy does not have is no link"
    )
    assert files["states/NV/index.html"] == (
        b'<a>CA</a> <a href="../../reports/before-2017-01-28/index.html">older</a>'
    )
    assert files["reports/before-2017-01-28/index.html"] == (b'<a href="../../v1/codes.json">codes</a> <a>no</a>'), (
        "a jurisdiction without a row"
    )
    assert files["v1/codes.json"] == b'{"link":"/"}', "the digest covers these bytes"
    assert files["reports/2017-01-28/index.html"] == b"<a>list</a>", "known only after the page was written"
    sums = {name: digest for digest, name in (line.split("  ") for line in files["SHA256SUMS"].decode().splitlines())}
    assert sums == {
        name: hashlib.sha256(body).hexdigest()
        for name, body in files.items()
        if name not in ("SHA256SUMS", ".ddor-site")
    }
    assert (done.files, done.written, done.unchanged, done.removed) == (len(files) - 1, len(files) - 1, 0, 0)
    assert done.size == sum(len(body) for name, body in files.items() if name != ".ddor-site")


async def test_a_second_run_renders_and_writes_nothing(site: Small, tmp_path: Path) -> None:
    await site.write(tmp_path)
    before = times(tmp_path)
    files = tree(tmp_path)
    done = await site.write(tmp_path)
    assert (done.written, done.removed, site.rendered) == (0, 0, [])
    assert times(tmp_path) == before
    assert tree(tmp_path) == files


async def test_a_changed_page_is_written_and_a_page_without_links_to_it_removed(site: Small, tmp_path: Path) -> None:
    await site.write(tmp_path)
    site.bodies["/states/NV"] = (HTML, "nothing else")
    done = await site.write(tmp_path)
    assert site.rendered == ["/states/NV"]
    assert (done.written, done.removed) == (2, 2), "the page and the digests; the page of older weeks and the codes"
    assert not (tmp_path / "reports/before-2017-01-28").exists()
    await site.write(tmp_path / "fresh")
    fresh = tree(tmp_path / "fresh")
    assert {name: body for name, body in tree(tmp_path).items() if not name.startswith("fresh/")} == fresh


@pytest.mark.parametrize("is_withdrawn", [True, False])
async def test_an_unchanged_page_is_written_again_if_a_link_has_another_end(
    site: Small, tmp_path: Path, is_withdrawn: bool
) -> None:
    address = "/v1/reports/2017-01-28/revisions/1/line-list"
    listed: tuple[str, str] = (JSON, "[]")
    if is_withdrawn:
        site.bodies[address] = listed
    await site.write(tmp_path / "copy")
    if is_withdrawn:
        del site.bodies[address]
    else:
        site.bodies[address] = listed
    await site.write(tmp_path / "copy")
    assert (b"href" in (tmp_path / "copy/reports/2017-01-28/index.html").read_bytes()) is not is_withdrawn
    await site.write(tmp_path / "fresh")
    assert tree(tmp_path / "copy") == tree(tmp_path / "fresh")


async def test_a_jurisdiction_with_its_first_row_becomes_a_link_in_unchanged_pages(site: Small, tmp_path: Path) -> None:
    await site.write(tmp_path / "copy")
    site.bodies |= {"/jurisdictions/31037": (HTML, "x"), "/v1/series?geoid=31037": (JSON, "{}")}
    both = ("31037", "32003")
    await site.write(tmp_path / "copy", geoids=both)
    await site.write(tmp_path / "fresh", geoids=both)
    assert tree(tmp_path / "copy") == tree(tmp_path / "fresh")
    await site.write(tmp_path / "copy")
    await site.write(tmp_path / "less")
    assert tree(tmp_path / "copy") == tree(tmp_path / "less"), "the database was restored from a backup"


async def test_another_program_renders_all_pages_again(site: Small, tmp_path: Path) -> None:
    await site.write(tmp_path)
    done = await site.write(tmp_path, renderer="another")
    assert (len(site.rendered) > 10, done.written) == (True, 0), "the same bytes"


@pytest.mark.parametrize(
    ("address", "media_type", "why"),
    [("/v1/codes", "text/csv", "give the route a suffix"), ("/reports/2017-01-28", "", "is published, but its status")],
)
async def test_a_defect_of_a_route_is_reported(
    site: Small, tmp_path: Path, address: str, media_type: str, why: str
) -> None:
    _, body = site.bodies.pop(address)
    if media_type:
        site.bodies[address] = (media_type, body)
    with pytest.raises(InvariantError, match=why):
        await site.write(tmp_path)
