"""The figures of a run as the table in `docs/performance.md`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def markdown(figures: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the table, one part after the other. A row begun by blanks belongs to the last.

    `figures` are what `--json` wrote.
    """
    yield f"Measured on: {figures['machine']}."
    yield ""
    yield "| what | value | target | |"
    yield "|---|---:|---:|---|"
    for part, rows in figures.items():
        if not isinstance(rows, list):
            continue
        yield f"| **{part}** | | | |"
        for row in rows:
            value = f"{row['value']:.3f} {row['unit']}".rstrip()
            target = f"{row['target']} {row['unit']}".rstrip() if row.get("target") else ""
            kept = "" if not target else "met" if row["met"] else "**missed**"
            what = row["what"]
            indent = "&emsp;" if what.startswith(" ") else ""
            yield f"| {indent}{what.strip()} | {value} | {target} | {kept} |"
