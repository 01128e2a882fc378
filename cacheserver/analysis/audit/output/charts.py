"""The charts of the page: inline SVG that stretches, without text of its own, styled by the page.

Rule: a chart is never the only place of a number; a table beside it has it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cacheserver.analysis.audit.days import bars, unit
from cacheserver.analysis.audit.output.words import dollars, escaped

Data = Mapping[str, Any]

_FEWEST: Final = 12  # places, so that a short log has bars and no walls


def by_day(days: Sequence[Data]) -> Iterator[str]:
    """A chart and its caption: what is left below, what each lever saves on top of it."""
    found = bars(days)
    top = max((sum(amount for _, amount in bar.parts) for bar in found), default=0.0)
    if not top:
        return
    dearest = max(found, key=lambda bar: bar.spent)
    most = escaped(dollars(dearest.spent))
    yield f'<svg class="days" viewBox="0 0 {max(_FEWEST, len(found))} 100" role="img"'
    yield ' preserveAspectRatio="none" aria-labelledby="days-title days-desc">'
    yield f'<title id="days-title">Spent from {found[0].first} to {found[-1].last}</title>'
    yield f'<desc id="days-desc">A bar is {unit(found)}; the dearest, from {dearest.first}, has '
    yield f"{most}. The table below has the numbers.</desc>"
    for place, bar in enumerate(found):
        floor = 100.0
        yield f"<g><title>{bar.first}: {escaped(dollars(bar.spent))}</title>"
        for kind, amount in bar.parts:
            if amount > 0:
                high = 100 * amount / top
                floor -= high
                yield f'<rect class="{kind}" x="{place + 0.06:.2f}" y="{floor:.3f}" '
                yield f'width="0.88" height="{high:.3f}"/>'
        yield "</g>"
    ends = [f"{found[0].first}", f"at most {most} in {unit(found)}", f"{found[-1].last}"]
    if len(found) < _FEWEST:  # the last bar is not at the right end
        ends = [f"{ends[0]} to {ends[2]}" if len(found) > 1 else ends[0], ends[1]]
    cells = "".join(f"<span>{one}</span>" for one in ends)
    yield f'</svg><figcaption class="ends">{cells}</figcaption>'
    if any(part < 0 for bar in found for part in bar.saved.values()):
        yield '<p class="faint">A bar passes what was spent by what a lever would have cost.</p>'


def lever(name: str, kind: str, one: Data, low: float, high: float) -> str:
    """A lever alone and, thinner, with the others, on a scale that holds 0; each its interval.

    Empty where the scale has no width. An interval is any `alone_95_usd` or `alone_bounds_usd`, and
    the same for `together`.
    """
    if not high > low:
        return ""

    def at(amount: float) -> float:
        return 100 * (amount - low) / (high - low)

    drawn, told = [], []
    for which, y, thick in (("alone", 2, 10), ("together", 15, 5)):
        amount = float(one[f"{which}_usd"])
        left, right = sorted((at(0.0), at(amount)))
        drawn.append(
            f'<rect class="{kind} {which}" x="{left:.3f}" y="{y}" '
            f'width="{right - left:.3f}" height="{thick}"/>'
        )
        told.append(f"{which} {dollars(amount)}")
        if ends := interval(one, which):
            told[-1] += f" ({dollars(ends[0])} to {dollars(ends[1])})"
            line = f'd="M{at(ends[0]):.3f} {y + thick / 2}H{at(ends[1]):.3f}"'
            drawn += [f'<path class="halo" {line}/>', f'<path class="whisker {which}" {line}/>']
    drawn.append(f'<path class="zero" d="M{at(0.0):.3f} 0V22"/>')
    return (
        '<svg class="lever" viewBox="0 0 100 22" preserveAspectRatio="none" role="img">'
        f"<title>{escaped(name)}: {escaped(', '.join(told))}</title>{''.join(drawn)}</svg>"
    )


def interval(one: Data, which: str) -> tuple[float, float] | None:
    """What is told of a lever alone or together, US dollars; None where no width is known."""
    ends = one.get(f"{which}_95_usd") or one.get(f"{which}_bounds_usd")
    if not ends or float(ends[0]) == float(ends[1]):
        return None
    return float(ends[0]), float(ends[1])


def scale(levers: Sequence[Data]) -> tuple[float, float]:
    """The least and the most that is drawn of them, 0 among them."""
    amounts = [0.0]
    for one in levers:
        for which in ("alone", "together"):
            amounts += [float(one[f"{which}_usd"]), *(interval(one, which) or ())]
    return min(amounts), max(amounts)
