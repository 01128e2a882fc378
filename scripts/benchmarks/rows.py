"""One figure as a row of the table."""

from __future__ import annotations

from typing import Any


def row(what: str, value: float, unit: str = "") -> dict[str, Any]:
    return {"what": what, "value": round(value, 4), "unit": unit}


def at_least(what: str, value: float, bound: float, unit: str = "") -> dict[str, Any]:
    return {**row(what, value, unit), "target": f">= {bound}", "met": value >= bound}


def at_most(what: str, value: float, bound: float, unit: str = "") -> dict[str, Any]:
    return {**row(what, value, unit), "target": f"<= {round(bound, 3)}", "met": value <= bound}
