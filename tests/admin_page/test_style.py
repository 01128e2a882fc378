"""The style sheet is whole: a block that is left open hides all rules after it."""

from __future__ import annotations

import re

from cacheserver.api.page_assets import FOLDER


def test_no_block_is_left_open() -> None:
    depth = 0
    for number, line in enumerate((FOLDER / "style.css").read_text().splitlines(), 1):
        assert depth == 0 or not line.startswith(("@media", "/* ")), f"line {number} is in a block"
        depth += line.count("{") - line.count("}")
    assert depth == 0


def test_each_colour_stands_once_for_both_themes() -> None:
    names = re.findall(r"^ *(--[\w-]+):", (FOLDER / "style.css").read_text(), re.MULTILINE)
    assert len(names) == len(set(names))
