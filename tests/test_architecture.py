"""The architecture page says what the code is: picture, packages, keys, links and tasks."""

from __future__ import annotations

import re

import pytest

from scripts.architecture_page.page import rewrite
from tests.models import ROOT
from tests.test_contributing import symbols

PAGE = (ROOT / "docs/architecture.md").read_text()
LINKS = re.findall(
    r"\[`([\w.]+)`\]\(\.\./(cacheserver/[\w/]+\.py)\)", PAGE.partition("## The path")[2]
)

# Tasks of one request or one call; each has its word in the last paragraph.
_SHORT = {"fill", "background", "store", "webhook", "batch:direct", "api:presence"}
_THREADS = {"store-child", "store-sync", "otel:end"}


def test_the_generated_parts_are_those_of_the_code() -> None:
    assert rewrite(PAGE, ROOT) == PAGE, "run scripts/architecture"


@pytest.mark.parametrize(("symbol", "file"), LINKS)
def test_a_linked_function_is_in_its_file(symbol: str, file: str) -> None:
    name, _, method = symbol.partition(".")
    assert name in symbols(ROOT / file)
    assert not method or re.search(rf"    (async )?def {method}\(", (ROOT / file).read_text())


def test_the_path_is_linked_and_every_task_is_listed() -> None:
    assert len(LINKS) >= 12
    found: set[str] = set()
    for source in (ROOT / "cacheserver").rglob("*.py"):
        if "simulated" not in source.parts:
            for call in re.findall(
                r"(?:create_task|DelayedTask)\(.*?name=f?\"([a-z:-]+)", source.read_text(), re.S
            ):
                found.add(call.rstrip(":"))
    rows = set(
        re.findall(r"^\| `([a-z:-]+)` \| `\w+` \|", PAGE.partition("## Background")[2], re.M)
    )
    assert rows == found - _SHORT - _THREADS
    for name in _SHORT:
        assert f"`{name}" in PAGE
