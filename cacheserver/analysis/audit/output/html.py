"""The report as one page that needs nothing else: no script, no request, charts as inline SVG.

Rule: whatever comes from a log is escaped, and no word of it is an attribute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, Final

from cacheserver.analysis.audit.output import charts, html_reports
from cacheserver.analysis.audit.output.words import dollars, escaped, over_month, percent
from cacheserver.analysis.replay.step import LEVERS

Data = Mapping[str, Any]

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_NAMES: Final = {
    "exact": "exact repeats",
    "semantic": "equal questions",
    "routing": "routing",
    "prompt-caching": "prompt caching",
    "batch": "batches",
}


def page(found: Data) -> str:
    """The page of a report as `data.report` makes it."""
    style = (resources.files("cacheserver.analysis.audit.output") / "report.css").read_text("utf-8")
    read = found["read"]
    parts = [*_head(found)]
    if read["requests"]:
        parts += [*_days(found["by_day"]), *_levers(found), *_leaks(found["leaks"])]
        parts += _table("By model", found["by_model"][:20])
        parts += _table("By purpose and system prompt", found["groups"][:30])
    if found["anthropic_reports"] is not None:
        parts += html_reports.section(found["anthropic_reports"])
        if not read["requests"]:
            parts += _leaks(found["leaks"])
    parts += [*_reading(read), *_rests(found)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>What your logs would have saved</title>\n<style>\n{style}</style>\n</head>\n"
        "<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _head(found: Data) -> Iterator[str]:
    read = found["read"]
    yield "<header><h1>What your logs would have saved</h1>"
    if not read["requests"]:
        yield "<p>No request was read.</p></header>"
        return
    spent, saved = float(found["spent_usd"]), float(found["saved_usd"])
    yield (
        f'<p class="faint">{read["requests"]:,} requests from {_time(read["from"])} '
        f"to {_time(read['to'])} (UTC)</p></header>"
    )
    sums = [
        ("Spent", _usd(spent)),
        ("With all levers", _usd(spent - saved)),
        ("Saved", f"{_usd(saved)}, {percent(saved, spent)}"),
    ]
    if found["month"]["saved"] is not None:
        month = found["month"]["saved"]
        ends = month["interval_95_usd"]
        within = f"<small>{' to '.join(_usd(end) for end in ends)}</small>" if ends else ""
        sums.append(("Saved in 30 days like these", _usd(month["usd"]) + within))
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in sums)
    yield f'<dl class="sums">{cells}</dl>'
    for name, what in (
        ("rests_on_estimated_tokens_usd", "rest on tokens estimated from characters."),
        ("without_prompt_usd", "went to requests whose prompt was not logged."),
    ):
        if float(found[name]):
            yield f"<p>{_usd(found[name])} {what}</p>"
    if float(found["log_says_usd"]):
        told, ours = _usd(found["log_says_usd"]), _usd(found["of_the_same_requests_usd"])
        yield f"<p>The log says {told} of requests that we make {ours}.</p>"
    for model, count in found["unpriced_models"].items():
        yield f"<p>No price is known for {count:,} requests of <code>{escaped(model)}</code>.</p>"


def _days(days: Sequence[Data]) -> Iterator[str]:
    chart = "".join(charts.by_day(days))
    if not chart:
        return
    yield f"<h2>By day</h2><figure>{chart}"
    names = [("left", "what is left"), *_NAMES.items()]
    yield '<ul class="key">'
    yield "".join(f'<li><i class="{kind}"></i>{name}</li>' for kind, name in names)
    yield "</ul></figure>"
    yield "<details><summary>The numbers</summary>"
    yield from _table("", days, first="day")
    yield "</details>"


def _levers(found: Data) -> Iterator[str]:
    levers = found["levers"]
    low, high = charts.scale(list(levers.values()))
    yield "<h2>What each lever would have saved</h2>"
    yield '<div class="wide"><table class="bars"><thead><tr><th scope="col">lever</th>'
    yield '<th scope="col" class="n">alone</th><th scope="col" class="n">together</th>'
    yield '<th scope="col"><span class="faint">alone, below it together; lines: intervals'
    yield "</span></th></tr></thead><tbody>"
    for lever, one in levers.items():
        name = _NAMES.get(lever, lever)
        bar = charts.lever(name, lever if lever in LEVERS else "left", one, low, high)
        yield (
            f'<tr><th scope="row" class="name">{escaped(name)}</th>'
            f'<td class="n">{_amount(one, "alone")}</td>'
            f'<td class="n">{_amount(one, "together")}</td><td>{bar}</td></tr>'
        )
    yield "</tbody></table></div>"
    semantic = found["semantic"]
    if semantic["hits"]:
        least, most = semantic["wrong_share_95"]
        ends = " to ".join(_usd(end) for end in semantic["saved_95_usd"])
        yield (
            f"<p>Of {semantic['hits']:,} answers to equal questions {semantic['compared']:,} were "
            f"compared and {semantic['wrong']:,} were wrong: {least:.1%} to {most:.1%} of all, so "
            f"{ends}.</p>"
        )


def _amount(one: Data, which: str) -> str:
    """What a lever saves and, where it is known, its interval."""
    ends = charts.interval(one, which)
    told = f"<small>{' to '.join(_usd(end) for end in ends)}</small>" if ends else ""
    return _usd(one[f"{which}_usd"]) + told


def _leaks(leaks: Sequence[Data]) -> Iterator[str]:
    if not leaks:
        return
    month = leaks[0]["month"] is not None
    over = "in 30 days like these" if month else "in the log, too short to tell a month by"
    yield f'<h2>The worst leaks, {over}</h2><p class="faint">Two may be after the same money.</p>'
    yield '<ol class="leaks">'
    for leak in leaks:
        amount = escaped(over_month(leak["month"])) if month else _usd(leak["saved_usd"])
        yield f"<li><h3><span>{escaped(leak['kind'])}</span><span>{amount}</span></h3>"
        yield f"<p>{escaped(leak['what'])} <code>{escaped(leak['model'])}</code></p>"
        blamed = ", ".join(f"<code>{escaped(one)}</code>" for one in leak["blamed"])
        if leak["requests"]:
            yield f'<p class="faint">{leak["requests"]:,} requests, above all {blamed}</p>'
        elif blamed:
            yield f'<p class="faint">above all on {blamed}</p>'
        if leak["note"]:
            yield f"<p>{escaped(leak['note'])}</p>"
        yield f"<p><strong>What ends it:</strong> {_marked(leak['fix'])}</p></li>"
    yield "</ol>"


def _table(title: str, rows: Sequence[Data], *, first: str = "") -> Iterator[str]:
    if title:
        yield f"<h2>{title}</h2>"
    yield '<div class="wide"><table><thead><tr>'
    yield f'<th scope="col" class="name">{first}</th>'
    yield "".join(
        f'<th scope="col" class="n">{name}</th>' for name in ("requests", "spent", "saved")
    )
    yield "</tr></thead><tbody>"
    for row in rows:
        model = row["model"] if row["model"] != row["name"] else ""
        shown = f" <code>{escaped(model)}</code>" if model else ""
        yield (
            f'<tr><th scope="row" class="name">{escaped(row["name"])}{shown}</th>'
            f'<td class="n">{row["requests"]:,}</td>'
            f'<td class="n">{_usd(row["spent_usd"])}</td>'
            f'<td class="n">{_usd(row["saved_usd"])}</td></tr>'
        )
    yield "</tbody></table></div>"


def _reading(read: Data) -> Iterator[str]:
    formats = ", ".join(f"{count:,} {escaped(name)}" for name, count in read["formats"].items())
    yield "<h2>What was read</h2>"
    yield f"<p>{read['lines']:,} records of {read['files']:,} files: {formats or 'none'}.</p>"
    left = [f"<li>{count:,}: {escaped(why)}</li>" for why, count in read["skipped"].items()]
    if left:
        yield f'<p>Left out:</p><ul class="plain">{"".join(left)}</ul>'
    if read["bad"]:
        shown = "".join(f"<li>{escaped(one)}</li>" for one in read["bad_shown"])
        yield f'<p>{read["bad"]:,} could not be read, first:</p><ul class="plain">{shown}</ul>'


def _rests(found: Data) -> Iterator[str]:
    yield '<h2>What this rests on</h2><ul class="plain">'
    yield "".join(f"<li>{escaped(one)}</li>" for one in found["assumptions"])
    yield "</ul>"


def _time(iso: str | None) -> str:
    return escaped((iso or "")[:16].replace("T", " "))


def _marked(text: str) -> str:
    """Our own words, with what stands in backticks as code."""
    parts = escaped(text).split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))


def _usd(amount: str | float) -> str:
    return escaped(dollars(amount))
