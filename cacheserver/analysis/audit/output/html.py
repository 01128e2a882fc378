"""The audit's report as one HTML page: inline style and SVG, no script, no request.

Rule: `rendering` escapes whatever comes from a log, and no template puts it into an attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cacheserver.analysis.audit.output import charts
from cacheserver.analysis.audit.output.rendering import render
from cacheserver.analysis.replay.step import LEVERS

_NAMES: Final = {
    "exact": "exact repeats",
    "semantic": "equal questions",
    "routing": "routing",
    "prompt-caching": "prompt caching",
    "batch": "batches",
}


def page(found: Mapping[str, Any]) -> str:
    """Return the page of a report that `data.report` made."""
    low, high = charts.scale(list(found["levers"].values()))
    lever_rows = [
        {
            "name": _NAMES.get(lever, lever),
            "amounts": [
                (one[f"{which}_usd"], charts.interval(one, which)) for which in charts.WHICH
            ],
            "bar": charts.lever(
                _NAMES.get(lever, lever), lever if lever in LEVERS else "left", one, low, high
            ),
        }
        for lever, one in found["levers"].items()
    ]
    days_chart = charts.by_day(found["by_day"])
    return render(
        "report.html.jinja",
        **found,
        days_chart=days_chart,
        lever_names=_NAMES,
        lever_rows=lever_rows,
    )
