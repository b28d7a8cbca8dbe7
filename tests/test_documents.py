"""Every link of the documents leads somewhere."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
ROOMS = (".", "docs", "examples", "charts")
DOCUMENTS = sorted(
    path for room in ROOMS for path in (ROOT / room).glob("*.md" if room == "." else "**/*.md") if path.is_file()
)


def tokens(document: Path) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable("table").parse(document.read_text()):
        yield token
        yield from token.children or ()


def links(document: Path) -> list[str]:
    found = [token.attrGet("href") or token.attrGet("src") for token in tokens(document)]
    return [str(link) for link in found if link and not re.match(r"[a-z]+:", str(link))]


def anchors(document: Path) -> set[str]:
    """Return what GitHub calls the headings."""
    blocks = MarkdownIt("commonmark").parse(document.read_text())
    titles = [after.content for token, after in pairwise(blocks) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link
