"""One figure as a row of the table.

A row begun by blanks explains the last one that has none; only the others are in the page's table.
"""

from __future__ import annotations

from typing import Any


def row(what: str, value: float, unit: str = "") -> dict[str, Any]:
    return {"what": what, "value": round(value, 4), "unit": unit}


def at_least(what: str, value: float, bound: float, unit: str = "") -> dict[str, Any]:
    return {**row(what, value, unit), "target": f">= {bound}", "met": value >= bound}


def at_most(what: str, value: float, bound: float, unit: str = "") -> dict[str, Any]:
    return {**row(what, value, unit), "target": f"<= {round(bound, 3)}", "met": value <= bound}


def skipped(what: str, why: str) -> dict[str, Any]:
    """A figure that this machine cannot give, and the reason."""
    return {"what": what, "value": None, "unit": "", "skipped": why}


def text(row: dict[str, Any]) -> str:
    """The value and its unit, for a person."""
    if row["value"] is None:
        return f"skipped: {row['skipped']}"
    value = row["value"]
    shown = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}" if value else "0"
    return f"{shown} {row['unit']}".rstrip()
