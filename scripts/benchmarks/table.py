"""The figures of a run as the table in `docs/performance.md`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.benchmarks import instructions
from scripts.benchmarks.rows import text

_PLACE = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)


def write(page: Path, figures: Mapping[str, Any]) -> None:
    """Put the table between the page's two comments, and the ratio of instructions into its line.

    Raises `ValueError` for a page without them.
    """
    table = "".join(f"{line}\n" for line in markdown(figures))
    written, places = _PLACE.subn(lambda _: table, page.read_text())
    if not places:
        raise ValueError(f"{page} has no `<!-- figures -->` ... `<!-- end of figures -->`")
    if found := figures.get("instructions"):
        written = instructions.with_accepted(written, found[0]["value"])
    page.write_text(written)


def markdown(figures: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the table. `figures` are what `--json` wrote."""
    yield f"Measured on: {figures['machine']}."
    yield ""
    yield "| what | value | target | |"
    yield "|---|---:|---:|---|"
    for part, rows in figures.items():
        if not isinstance(rows, list):
            continue
        yield f"| **{part}** | | | |"
        for row in rows:
            if row["what"].startswith(" "):
                continue
            target = row.get("target") or ""
            kept = "" if not target else "met" if row["met"] else "**missed**"
            yield f"| {row['what']} | {text(row)} | {target} | {kept} |"
