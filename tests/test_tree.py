"""The shape of the tree: sizes of files and folders, what packages say, how docstrings begin."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models import ROOT

MOST_LINES = 400
MOST_FILES = 25
FEWEST_FILES = 3
FEWEST_LINES = 3  # of a package's docstring
FRONT_DOOR = {"__init__", "__main__", "app", "bootstrap", "cli", "host", "serving"}

PACKAGE = ROOT / "cacheserver"
# A docstring begins with a verb or a noun. These begin a clause that must be read twice.
_CALLERS = re.compile(r"\b(Called|Built|Started|Read|Used|Added) (by|in)\b|\bserved? by\b")
_CLAUSE = re.compile(r"(What|Who|Whether|How|As|Of|That|Where|Which|When|Why)\b")


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (ROOT / folder).rglob("*.py")


def own_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()]


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def test_files_can_be_taken_in() -> None:
    long = {
        f"{path.relative_to(ROOT)}": lines
        for path in sources("cacheserver", "index", "scripts")
        if (lines := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert not long


def test_folders_can_be_taken_in() -> None:
    folders = {path.parent for path in sources("cacheserver", "index")}
    assert not {
        f"{folder.relative_to(ROOT)}": count
        for folder in folders
        if (count := len(own_files(folder))) > MOST_FILES
    }


def test_only_the_front_door_stands_beside_the_packages() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == FRONT_DOOR


@pytest.mark.parametrize(
    "package", sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
)
def test_a_package_is_worth_a_folder(package: str) -> None:
    files = [path for path in (PACKAGE / package).rglob("*.py") if path.name != "__init__.py"]
    assert len(files) >= FEWEST_FILES


@pytest.mark.parametrize(
    "package",
    sorted(
        f"{path.parent.relative_to(PACKAGE)}"
        for path in PACKAGE.rglob("*/__init__.py")
        if path.parent != PACKAGE
    ),
)
def test_a_package_says_what_it_is_for(package: str) -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / package / "__init__.py").read_text())) or ""
    assert len(text.splitlines()) >= FEWEST_LINES, "for what it is, what it promises, who calls it"
    assert _CALLERS.search(text), "no word on who calls, reads or uses it"


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    assert not [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in sources("cacheserver", "index", "scripts")
        for line, text in docstrings(path)
        if _CLAUSE.match(text)
    ]


def test_comments_cite_what_anybody_can_read() -> None:
    private = re.compile(r"\(facts?,? \d|\bfacts \d|\bissue's\b|\bthe issue\b", re.I)
    assert not [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources("cacheserver", "index", "scripts")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if private.search(line)
    ]
