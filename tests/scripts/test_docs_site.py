"""The documentation site: links are turned, each route is in its reference, no page is lost."""

from __future__ import annotations

import re

import pytest

from scripts.docs_site import http_reference, pages
from tests.models import ROOT


@pytest.mark.parametrize(
    ("link", "at_root", "turned"),
    [
        ("[a](api.md#errors)", False, "[a](api.md#errors)"),
        ("[a](../SECURITY.md#keys)", False, "[a](security.md#keys)"),
        ("[a](../README.md#two-commands)", False, "[a](index.md)"),
        ("[`a.py`](../cacheserver/cli.py)", False, "`a.py`"),
        ("[a](docs/api.md)", True, "[a](api.md)"),
        ("[a](CHANGELOG.md)", True, "[a](changes.md)"),
        ("[a](cacheserver/cli.py)", True, "a"),
        ("[a](#here) and [b](https://example.com/x)", True, "[a](#here) and [b](https://example.com/x)"),
        ("![a](pictures/a.webp)", False, "![a](pictures/a.webp)"),
    ],
)  # fmt: skip
def test_a_link_leads_to_the_page_in_the_site(link: str, at_root: bool, turned: str) -> None:
    assert pages.turned(link, at_root=at_root) == turned


def test_each_picture_of_two_schemes_is_shown_in_its_own() -> None:
    text = (ROOT / "docs/deciding.md").read_text()
    shown = pages.turned(text, at_root=False)
    assert "<picture>" in text
    assert "<picture>" not in shown
    for scheme in ("light", "dark"):
        picture = re.search(rf"```{{image}} (\S+)\n:class: only-{scheme}\n:alt: \w", shown)
        assert picture is not None
        assert picture[1].endswith(f"-{scheme}.webp")
        assert (ROOT / "docs" / picture[1]).is_file()


def test_every_route_is_in_the_reference() -> None:
    text = http_reference.page()
    described = http_reference.description()["paths"]
    assert len(described) > 100
    for path, methods in described.items():
        for method in methods.keys() & {"get", "post", "put", "patch", "delete"}:
            assert f"\n### {method.upper()} {path}\n" in text


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/index.md").read_text().splitlines()
    ours = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    ours |= {name.removesuffix(".md") for name in pages.ROOT_PAGES.values()} | {"http-reference"}
    assert ours <= set(index)
