"""The charts of the page: inline SVG that stretches, without text of its own, styled by the page.

Rule: a chart is never the only place of a number; a table beside it has it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from cacheserver.analysis.audit.days import bars, unit
from cacheserver.analysis.audit.output.format import dollars
from cacheserver.analysis.audit.output.rendering import render

Data = Mapping[str, Any]

WHICH: Final = ("alone", "together")
_FEWEST: Final = 12  # places, so that a short log has bars and no walls


def by_day(days: Sequence[Data]) -> Markup:
    """Return a chart and its caption: what is left below, what each lever saves on top of it.

    Empty if nothing was spent.
    """
    found = bars(days)
    top = max((sum(amount for _, amount in bar.parts) for bar in found), default=0.0)
    if not top:
        return Markup()
    columns = []
    for place, bar in enumerate(found):
        floor, boxes = 100.0, []
        for kind, amount in bar.parts:
            if amount > 0:
                height = 100 * amount / top
                floor -= height
                box = {"x": f"{place + 0.06:.2f}", "y": f"{floor:.3f}", "height": f"{height:.3f}"}
                boxes.append({"kind": kind, **box})
        columns.append((bar, boxes))
    dearest = max(found, key=lambda bar: bar.spent)
    first, last, most = found[0].first, found[-1].last, dollars(dearest.spent)
    ends = [f"{first}", f"at most {most} in {unit(found)}", f"{last}"]
    if len(found) < _FEWEST:  # the last bar is not at the right end
        ends = [f"{first} to {last}" if len(found) > 1 else ends[0], ends[1]]
    return render(
        "days_chart.html.jinja",
        width=max(_FEWEST, len(found)),
        first=first,
        last=last,
        unit=unit(found),
        dearest=dearest,
        columns=columns,
        ends=ends,
        any_negative=any(part < 0 for bar in found for part in bar.saved.values()),
    )


def lever(name: str, kind: str, one: Data, low: float, high: float) -> Markup:
    """Return a bar for a lever alone and a thinner one with the others, each with its interval.

    The scale holds 0; empty if it has no width. An interval is any `alone_95_usd` or
    `alone_bounds_usd`, and the same for `together`.
    """
    if not high > low:
        return Markup()

    def at(amount: float) -> float:
        return 100 * (amount - low) / (high - low)

    rows, titles = [], []
    for which, y, height in (("alone", 2, 10), ("together", 15, 5)):
        amount, ends = float(one[f"{which}_usd"]), interval(one, which)
        left, right = sorted((at(0.0), at(amount)))
        line = f"M{at(ends[0]):.3f} {y + height / 2}H{at(ends[1]):.3f}" if ends else ""
        box = {"x": f"{left:.3f}", "y": y, "width": f"{right - left:.3f}", "height": height}
        rows.append({"which": which, "line": line, **box})
        within = f" ({dollars(ends[0])} to {dollars(ends[1])})" if ends else ""
        titles.append(f"{which} {dollars(amount)}{within}")
    zero = f"{at(0.0):.3f}"
    return render(
        "lever_chart.html.jinja", name=name, kind=kind, rows=rows, titles=titles, zero=zero
    )


def interval(one: Data, which: str) -> tuple[float, float] | None:
    """Return the bounds for a lever alone or together, US dollars; None if they are one value."""
    ends = one.get(f"{which}_95_usd") or one.get(f"{which}_bounds_usd")
    if not ends or float(ends[0]) == float(ends[1]):
        return None
    return float(ends[0]), float(ends[1])


def scale(levers: Sequence[Data]) -> tuple[float, float]:
    """Return the least and the greatest amount drawn for these levers, 0 among them."""
    amounts = [0.0]
    for one in levers:
        for which in WHICH:
            amounts += [float(one[f"{which}_usd"]), *(interval(one, which) or ())]
    return min(amounts), max(amounts)
