"""The site of the documentation is complete, has no broken links, needs no other host, and looks like its sources."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from deploy.documentation import hook
from tests.support import documentation

_ROOT = hook.ROOT
_DOCS = sorted(path for path in (_ROOT / "docs").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
_PAGES = sorted(path for path in hook.shown() if path.endswith(".md"))
_COMPARED = {"ul", "ol", "li", "pre", "table", "tr", "th", "td", "blockquote", *(f"h{level}" for level in range(1, 7))}
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|embed|object)\b[^>]*\b(?:src|data)=["']?([^"'\s>]+)|<link\b[^>]*\bhref=["']?([^"'\s>]+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the site, as `make docs` builds it."""
    return documentation.built(tmp_path_factory.mktemp("site"))


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    """All other tests rely on this: `documentation.built` fails for any warning."""
    pages, config = tmp_path / "pages", yaml.safe_load((_ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages.mkdir()
    (pages / "page.md").write_text("# Page\n\n[gone](gone.md), [no heading](#none)\n", encoding="utf-8")
    (pages / "other.md").write_text("# Not in the navigation\n", encoding="utf-8")
    config |= {"docs_dir": "pages", "hooks": [], "nav": ["page.md"], "theme": "material"}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = documentation.build(tmp_path / "mkdocs.yml", tmp_path / "out")
    assert done.returncode == 1
    warnings = "".join(
        one for one in re.split(r"^(?=[A-Z]+ +- )", done.stderr, flags=re.MULTILINE) if one[:4] == "WARN"
    )
    assert all(one in warnings for one in ("'gone.md'", "'#none'", "other.md")), done.stderr


@pytest.mark.parametrize("path", _DOCS, ids=lambda path: path.relative_to(_ROOT).as_posix())
def test_every_file_of_docs_is_in_the_site(site: Path, path: Path) -> None:
    assert (site / documentation.address(path.relative_to(_ROOT).as_posix())).is_file()


def test_every_page_of_docs_is_in_the_navigation() -> None:
    nav = yaml.safe_load((_ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = Counter(hook.strings(hook.expanded(nav, set(hook.strings(nav)))))
    pages = {path.relative_to(_ROOT).as_posix() for path in _DOCS if path.suffix == ".md"}
    assert pages <= set(listed)
    assert [page for page, times in listed.items() if times > 1] == ["docs/errors.md"], "agencies and operators need it"


def test_the_site_loads_nothing_from_another_host(site: Path) -> None:
    loaded = [
        one
        for path in site.rglob("*.html")
        for found in _LOADED.findall(path.read_text(encoding="utf-8"))
        for one in found
        if one
    ]
    loaded += [
        one
        for path in site.rglob("*.css")
        for one in re.findall(r"""url\(["']?([^"')]+)|@import""", path.read_text("utf-8"))
    ]
    assert len(loaded) > 500
    assert [one for one in loaded if re.match(r"(?:\w+:)?//", one)] == []


@pytest.mark.parametrize("page", _PAGES)
def test_a_page_has_the_structure_that_a_code_host_shows(site: Path, page: str) -> None:
    """Python-Markdown reads lists differently. `deploy.documentation.lists` rewrites them."""
    source = MarkdownIt("commonmark").enable("table").render((_ROOT / page).read_text(encoding="utf-8"))
    html = (site / documentation.address(page)).read_text(encoding="utf-8")
    article = html.partition("<article")[2].partition("</article>")[0].partition('<aside class="md-source-file"')[0]
    assert list(_structure(article)) == list(_structure(source))


def _structure(html: str) -> Iterator[str]:
    """The tags of lists, tables, headings and blocks of code, and the text of the blocks."""
    reader = _Reader()
    reader.feed(html)
    yield from reader.found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.is_code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _COMPARED:
            self.found.append(tag)
        if tag == "pre":
            self.is_code = True
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self.is_code = self.is_code and tag != "pre"

    def handle_data(self, data: str) -> None:
        if self.is_code:
            self.found[-1] += re.sub(r"[ \t]+", " ", data)
