"""The structure of an HTML page, and what holds for every page of this package."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise

VOID = frozenset({"meta", "input", "br", "link", "img", "hr"})
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
NAMED = frozenset({"nav", "section"})


class Page(HTMLParser):
    """The elements of a page with their attributes, the texts, and the ids that are used and referred to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {"style": "", "script": ""}
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inside:
            self.inside[self.open[-1]] += data
        elif data.strip():
            self.texts.append(data)

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    @property
    def attributes(self) -> set[str]:
        return {name for _, attributes in self.elements for name in attributes}

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for each, attributes in self.elements if each == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.texts).split())


def require_sound(page: Page) -> None:
    """Hold what holds for every page: unique ids, landmarks, order of headings, names, the policy."""
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag in ("main", "header", "footer", "h1", "title", "nav"):
        assert len(page.all(tag)) == 1, tag
    assert page.all("html")[0]["lang"] == "en"
    levels = [HEADINGS.index(tag) + 1 for tag, _ in page.elements if tag in HEADINGS]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    for tag, attributes in page.elements:
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        for name in ("aria-labelledby", "aria-describedby"):
            for ident in (attributes.get(name) or "").split():
                assert ident in ids, (tag, ident)
        if tag in NAMED or attributes.get("role") in ("region", "img"):
            assert attributes.get("aria-label") or attributes.get("aria-labelledby"), (tag, attributes)
        href = attributes.get("href")
        if href is not None:
            assert href.startswith("#"), href
            assert href[1:] in ids, href
        assert "src" not in attributes
        if tag == "th":
            assert attributes.get("scope") in ("col", "row")
    policy = next(each["content"] for each in page.all("meta") if "http-equiv" in each) or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        assert len(page.all(kind)) == 1
        digest = base64.b64encode(hashlib.sha256(page.inside[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.search(r"url\((?!#)|@import|https?:", page.inside["style"])
