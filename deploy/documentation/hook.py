"""The hook of mkdocs.yml: files have the same paths in the site as in the repository, so their links stay valid.

Its files are README.md, all pages of docs, and all files that these link to, directly or through other pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pymdownx.slugs import slugify

from deploy.documentation import lists

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace the patterns of the navigation by pages. Give headings the anchors that code hosts give them."""
    config.nav = expanded(config.nav, set(strings(config.nav)))
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of docs by those of the site; the files of the theme stay."""
    of_theme = [one for one in files if one.src_dir != config.docs_dir]
    own = [File(path, str(ROOT), config.site_dir, config.use_directory_urls) for path in sorted(shown())]
    return Files(own + of_theme)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Rewrite lists for Python-Markdown."""
    return lists.indented(markdown)


def shown() -> set[str]:
    """The paths of all files of the site, relative to the repository."""
    found, waiting = set[str](), {"README.md", *(_relative(path) for path in (ROOT / "docs").rglob("*.md"))}
    while waiting:
        path = waiting.pop()
        found.add(path)
        if path.endswith(".md"):
            waiting |= {one for one in linked(path) if (ROOT / one).is_file()} - found
    return found


def linked(page: str) -> Iterator[str]:
    """The paths that a page links to, relative to the repository. Those outside it are left out."""
    text = _FENCED.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for target in _LINK.findall(text):
        path = (ROOT / page).parent.joinpath(target).resolve()
        if path.is_relative_to(ROOT):
            yield _relative(path)


def expanded(nav: Any, named: set[str]) -> Any:
    """The navigation with each pattern replaced by the pages that match it and that no other entry names."""
    if isinstance(nav, dict):
        return {title: expanded(entries, named) for title, entries in nav.items()}
    if isinstance(nav, str):
        return nav
    return [
        page for entry in nav for page in (_pages(entry, named) if isinstance(entry, str) else [expanded(entry, named)])
    ]


def _pages(pattern: str, named: set[str]) -> Iterable[str]:
    pages = sorted(_relative(path) for path in ROOT.glob(pattern))
    return [page for page in pages if page == pattern or page not in named]


def strings(nav: Any) -> Iterator[str]:
    """The paths and patterns of a navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from strings(entry)


def _relative(path: Path) -> str:
    return PurePosixPath(path.relative_to(ROOT)).as_posix()
