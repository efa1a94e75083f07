"""The documentation page."""

import base64
import hashlib
import re
from html.parser import HTMLParser

from gateway.app import codecs
from gateway.openapi.document import openapi_document
from gateway.openapi.page import CONTENT_SECURITY_POLICY, rendered

DOCUMENT = openapi_document(codecs())
PAGE = rendered(DOCUMENT)
VOID = {"meta", "br"}


class Outline(HTMLParser):
    """Tags that are open, ids and the places links lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_is_well_formed_and_its_links_lead_somewhere():
    """Every tag is closed, every id unique, every link of the page has its target."""
    outline = Outline()
    outline.feed(PAGE.removeprefix("<!doctype html>"))

    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)
    assert {link for link in outline.links if not link.startswith("#")} == {"/openapi.json"}


def test_its_policy_allows_exactly_its_own_style():
    """The hash is that of the style element."""
    found = re.search(r"<style>(.*?)</style>", PAGE, re.DOTALL)

    assert found is not None
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY
    assert "style=" not in PAGE


def test_it_shows_every_operation():
    """By method and path."""
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            assert f'id="{operation["operationId"]}"' in PAGE
        assert f"<code>{path}</code>" in PAGE


def test_what_the_document_says_is_escaped():
    """Comments are text, not markup."""
    document = {**DOCUMENT, "info": {"title": "<b>", "description": "a `<i>` & b"}}

    assert "&lt;b&gt; API" in rendered(document)
    assert "a <code>&lt;i&gt;</code> &amp; b" in rendered(document)
