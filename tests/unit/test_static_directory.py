"""services.publisher.static_site: interrupted runs, files of others, and the list of the files that a run wrote."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from services.publisher.static_site import directory as directories
from services.publisher.static_site import manifest
from services.publisher.static_site.directory import DirectoryRefusedError, opened
from services.publisher.static_site.manifest import DamagedManifestError, Entry
from tests.unit.sample_site import HTML, Small, tree


@pytest.fixture
def site() -> Small:
    return Small()


@pytest.mark.parametrize("stop_at", [0, 1, 5, 9])
async def test_a_run_that_was_interrupted_is_completed(site: Small, tmp_path: Path, stop_at: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        await site.write(tmp_path / "copy", stop_at=stop_at)
    await site.write(tmp_path / "copy")
    await site.write(tmp_path / "fresh")
    assert tree(tmp_path / "copy") == tree(tmp_path / "fresh")


@pytest.mark.parametrize("renames", range(2, 12))
async def test_a_crash_before_a_file_is_replaced_leaves_no_file_of_others(
    site: Small, tmp_path: Path, renames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.write(tmp_path / "copy")
    site.bodies = {name: (kind, f"{body} " if kind == HTML else body) for name, (kind, body) in site.bodies.items()}
    real, left = directories._replace, iter(range(renames))

    def crash(root: Path, path: Path, content: bytes) -> None:
        if next(left, None) is None:
            (root / ".ddor-site.tmp").write_bytes(b"half")
            raise KeyboardInterrupt
        real(root, path, content)

    monkeypatch.setattr(directories, "_replace", crash)
    with suppress(KeyboardInterrupt):
        await site.write(tmp_path / "copy")
    monkeypatch.undo()
    with (tmp_path / "copy/.ddor-site").open("ab") as torn:
        torn.write(b'["index.html",{"sha2')
    await site.write(tmp_path / "copy")
    await site.write(tmp_path / "fresh")
    assert tree(tmp_path / "copy") == tree(tmp_path / "fresh")


async def test_a_damaged_or_missing_file_is_written_again(site: Small, tmp_path: Path) -> None:
    await site.write(tmp_path)
    files = tree(tmp_path)
    (tmp_path / "index.html").write_bytes(b"other")
    (tmp_path / "v1/codes.json").unlink()
    assert (await site.write(tmp_path)).written == 2
    assert tree(tmp_path) == files


async def test_files_of_others_are_refused_and_kept(site: Small, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DirectoryRefusedError, match="has files, and no earlier run of this command wrote them"):
        await site.write(tmp_path)
    assert [*tree(tmp_path)] == ["notes.txt"]
    await site.write(tmp_path, force=True)
    (tmp_path / "states/NV/mine.txt").write_text("mine")
    site.bodies["/"] = (HTML, "nothing")
    assert (await site.write(tmp_path)).removed == 3
    assert {"notes.txt", "states/NV/mine.txt"} < tree(tmp_path).keys()


async def test_a_file_of_others_with_a_name_of_the_site_is_replaced_by_force_only(site: Small, tmp_path: Path) -> None:
    codes = tmp_path / "v1/codes.json"
    body = site.bodies.pop("/v1/codes")
    await site.write(tmp_path)
    codes.write_text("mine")
    site.bodies["/v1/codes"] = body
    with pytest.raises(DirectoryRefusedError, match=r"v1/codes\.json was not written by this command"):
        await site.write(tmp_path)
    assert codes.read_text() == "mine"
    await site.write(tmp_path, force=True)
    assert codes.read_text() == body[1]


async def test_a_file_that_another_program_has_changed_is_not_removed(site: Small, tmp_path: Path) -> None:
    await site.write(tmp_path)
    (tmp_path / "states/NV/index.html").write_text("mine")
    site.bodies["/"] = (HTML, "nothing")
    assert (await site.write(tmp_path)).removed == 2
    assert (tmp_path / "states/NV/index.html").read_text() == "mine"


@pytest.mark.parametrize("file", ["states", "index.html"])
async def test_no_link_leads_out_of_the_directory(site: Small, tmp_path: Path, file: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret").write_text("secret")
    (tmp_path / "copy").mkdir()
    if file == "states":
        (tmp_path / "copy/states").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(DirectoryRefusedError, match="leads out of"):
            await site.write(tmp_path / "copy", force=True)
    else:
        (tmp_path / "copy/index.html").symlink_to(tmp_path / "elsewhere/secret")
        await site.write(tmp_path / "copy", force=True)
        assert not (tmp_path / "copy/index.html").is_symlink()
    assert tree(tmp_path / "elsewhere") == {"secret": b"secret"}


async def test_two_runs_do_not_write_to_one_directory(site: Small, tmp_path: Path) -> None:
    with opened(tmp_path, "r"):
        (tmp_path / ".ddor-site.tmp").write_text("half a file")
        with pytest.raises(DirectoryRefusedError, match="another run of this command"):
            await site.write(tmp_path)
        assert (tmp_path / ".ddor-site.tmp").exists(), "the first run renames it"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text\n",
        b'["ddor site 2","r"]\n',
        b'["ddor site 1","r"]\n["../../etc/passwd",{"sha256":"a","size":1}]\n',
        b'["ddor site 1","r"]\n["index.html",{"sha256":1,"size":"a"}]\n',
        b'["ddor site 1","r"]\n{}\n',
        b'["ddor site 1","r"]\n["\xff"]\n',
    ],
)
async def test_a_damaged_list_is_refused(site: Small, tmp_path: Path, content: bytes) -> None:
    (tmp_path / manifest.NAME).write_bytes(content)
    with pytest.raises(DamagedManifestError, match="is damaged"):
        await site.write(tmp_path, force=True)


def test_a_list_is_what_was_written() -> None:
    entries = {"b.html": Entry("a" * 64, 1, "/b", '"t"', ("/x",), ("/x",)), "README.txt": Entry("b" * 64, 2)}
    assert manifest.load(manifest.dump("r", entries), "r") == entries
    assert {one.etag for one in manifest.load(manifest.dump("r", entries), "other").values()} == {""}
