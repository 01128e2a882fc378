"""The places that CONTRIBUTING and the architecture page name exist: files, symbols, headings."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.models import ROOT

# A file in backticks, and the symbols or headings that follow it in backticks, up to the next
# file: `cacheserver/core/types.py` `LEVERS` and `TtlRule`.
_WORD = re.compile(r"`([^`]+)`")
_FILE = re.compile(r"[\w./-]+/[\w.-]+\.(?:py|md|json|toml)|CHANGELOG\.md|pyproject\.toml")


def places(text: str) -> list[tuple[str, str]]:
    """The (file, symbol) pairs of the lists; "" as the symbol of a file that stands alone."""
    found: list[tuple[str, str]] = []
    for item in re.findall(r"^\d+\. (.*?)(?=^\d+\. |^$|\Z)", text, re.M | re.S):
        file = ""
        for sentence in item.split(";"):
            head = sentence.partition(":")[0]  # what comes after the colon is the work to do
            for word in _WORD.findall(" ".join(head.split())):
                if _FILE.fullmatch(word):
                    file = word
                    found.append((file, ""))
                elif file:
                    found.append((file, word))
    return found


def symbols(source: Path) -> set[str]:
    """The names that a module defines at its top level."""
    names: set[str] = set()
    for node in ast.parse(source.read_text()).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


PLACES = places((ROOT / "CONTRIBUTING.md").read_text())


def test_there_are_lists_for_the_changes_that_are_asked_for() -> None:
    headings = re.findall(r"^### (.*)$", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    wanted = (
        "a bypass reason, a setting, a metric, an alert, a CLI command, a route, a ledger column, "
        "a lever"
    )
    assert {*wanted.split(", "), "a field of `/v1/query`", "a model"} <= set(headings)
    assert len(PLACES) > 60


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_a_place_to_open_exists(file: str, name: str) -> None:
    path = ROOT / file
    assert path.is_file(), file
    if not name:
        return
    if path.suffix == ".py":
        assert name in symbols(path), f"{file} defines no {name}"
    else:
        assert f"\n{name}\n" in path.read_text(), f"{file} has no heading {name}"
