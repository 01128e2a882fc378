"""The report for a terminal: visible text, 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cacheserver.analysis.audit.days import bars, unit
from cacheserver.analysis.audit.output.format import dollars, over_month, percent, visible
from cacheserver.core.terminal.counts import counted

_BAR = 30  # columns
_HEIGHTS = ".:-=+*#"


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a report that `data.report` made."""
    yield from _read(found["read"])
    if found["anthropic_reports"] is not None:
        yield from _reports(found["anthropic_reports"])
        if not found["read"]["requests"]:
            yield from _leaks(found["leaks"])
    if not found["read"]["requests"]:
        return
    spent, saved = float(found["spent_usd"]), float(found["saved_usd"])
    yield ""
    yield f"Spent            ${spent:,.2f}"
    if float(found["log_says_usd"]):
        reported, ours = float(found["log_says_usd"]), float(found["of_the_same_requests_usd"])
        yield f"The log says     ${reported:,.2f} of requests that we make ${ours:,.2f}"
    for name, what in (
        ("rests_on_estimated_tokens_usd", "rest on tokens estimated from characters"),
        ("without_prompt_usd", "went to requests whose prompt was not logged: nothing is known"),
    ):
        if float(found[name]):
            yield f"                 ${float(found[name]):,.2f} {what}"
    for model, count in found["unpriced_models"].items():
        yield f"Unpriced         {counted(count, 'request')} of {visible(model)}"
    yield f"With all levers  ${spent - saved:,.2f}, {percent(saved, spent)} less"
    if found["month"]["spent"] is not None:
        paid, less = (over_month(found["month"][one]) for one in ("spent", "saved"))
        yield f"30 days like it  {paid} spent, of which {less} saved"
    yield ""
    yield "Lever                  alone       together"
    whole = max((abs(float(one["alone_usd"])) for one in found["levers"].values()), default=0.0)
    for lever, one in found["levers"].items():
        alone, together = float(one["alone_usd"]), float(one["together_usd"])
        bar = "#" * round(_BAR * max(0.0, alone) / whole) if whole else ""
        yield f"{lever:<15} {dollars(alone):>13}  {dollars(together):>13}  {bar}"
    yield from _semantic(found["semantic"])
    yield from _verification(found["verification"])
    for lever, ends, why in (
        ("routing", "alone_95_usd", "its wrong choices taken off"),
        ("prompt-caching", "alone_bounds_usd", "by how many tokens its prefixes have"),
        ("batch", "alone_bounds_usd", "by what of it may wait"),
    ):
        one = found["levers"][lever]
        if float(one["alone_usd"]):
            low, high = (dollars(end) for end in one[ends])
            yield f"{'':<16} {lever} alone {low} to {high}, {why}"
    yield from _days(found["by_day"])
    yield from _table("By model", found["by_model"][:8])
    yield from _table("By purpose and system prompt", found["groups"][:10])
    yield from _leaks(found["leaks"])
    yield ""
    yield "What this rests on"
    for one in found["assumptions"]:
        yield from _wrapped(one)


def _read(read: Mapping[str, Any]) -> Iterator[str]:
    formats = ", ".join(f"{count:,} {name}" for name, count in read["formats"].items()) or "none"
    files = counted(read["files"], "file")
    yield f"Read             {counted(read['lines'], 'line')} of {files}: {formats}"
    if read["requests"]:
        yield f"Requests         {read['requests']:,} from {read['from']} to {read['to']}"
    for why, count in read["skipped"].items():
        yield f"Left out         {count:,}: {visible(why)}"
    if read["bad"]:
        yield f"Could not read   {counted(read['bad'], 'line')}, the first of them:"
        for one in read["bad_shown"]:
            yield f"                 {visible(one)}"


def _reports(found: Mapping[str, Any]) -> Iterator[str]:
    spent, reported = float(found["spent_usd"]), float(found["cost_report_usd"])
    yield ""
    yield f"Anthropic's own reports, {counted(found['days'], 'day')}"
    if reported:
        yield f"Cost report      ${reported:,.2f}"
    if found["tokens"]:
        yield f"Tokens           ${spent:,.2f} at our prices, as short prompts"
        saved = float(found["caching_in_place_saved_usd"])
        yield f"Caching in place {dollars(saved)} saved"
        for lever, amount in found["at_most_usd"].items():
            yield f"At most          {dollars(amount)} more by {lever}"
        if float(older := found["older_models_usd"]):
            yield f"Older models     {dollars(older)} more than their successors"
    for model, tokens in found["unpriced_tokens"].items():
        yield f"Unpriced         {counted(tokens, 'token')} of {visible(model)}"
    yield ""
    columns = ("at our prices", "cost report", "in the logs")
    yield f"{'By model':<40} {columns[0]:>14} {columns[1]:>14} {columns[2]:>14}"
    for row in found["by_model"][:8]:
        amounts = (row["spent_usd"], row["cost_report_usd"], row["logged_usd"])
        cells = " ".join(f"{dollars(amount):>14}" for amount in amounts)
        yield f"{visible(row['name'])[:40]:<40} {cells}"


def _semantic(found: Mapping[str, Any]) -> Iterator[str]:
    if not found["hits"]:
        return
    low, high = (dollars(one) for one in found["saved_95_usd"])
    least, most = found["wrong_share_95"]
    yield (
        f"{'':<16} semantic hits {found['hits']:,}; of {found['compared']:,} compared "
        f"{found['wrong']:,} wrong ({least:.1%} to {most:.1%}), so {low} to {high}"
    )


def _verification(found: Mapping[str, Any] | None) -> Iterator[str]:
    if found is None or not found["calls"]:
        return
    rates = f"{found['sensitivity']:.1%} and {found['false_yes']:.1%} false yes"
    yield f"{'':<16} verification, estimated with {rates}, in no figure above:"
    yield (
        f"{'':<18} {found['calls']:,} calls cost {dollars(found['cost_usd'])}; "
        f"{found['hits']:,.0f} more hits ({found['wrong_hits']:,.1f} wrong) save "
        f"{dollars(found['saved_usd'])}"
    )


def _days(days: list[Mapping[str, Any]]) -> Iterator[str]:
    """A sign a day, the higher the dearer; blank where nothing was spent."""
    found = bars(days)
    top = max((bar.spent for bar in found), default=0.0)
    if len(found) < 2 or not top:
        return
    share = [bar.spent / top for bar in found]
    yield ""
    span = f"{found[0].first} to {found[-1].last}"
    yield f"Spent by day, {span}: at most {dollars(top)} in {unit(found)}"
    yield "".join(
        _HEIGHTS[min(len(_HEIGHTS) - 1, int(one * len(_HEIGHTS)))] if one else " " for one in share
    )


def _table(title: str, rows: list[Mapping[str, Any]]) -> Iterator[str]:
    yield ""
    yield f"{title:<62} {'requests':>10} {'spent':>12} {'saved':>12}"
    for row in rows:
        name = visible(row["name"])
        if row["model"] and row["model"] != row["name"]:
            name = f"{name[:36]}  {visible(row['model'])}"
        spent, saved = float(row["spent_usd"]), float(row["saved_usd"])
        yield f"{name[:62]:<62} {row['requests']:>10,} {dollars(spent):>12} {dollars(saved):>12}"


def _leaks(leaks: list[Mapping[str, Any]]) -> Iterator[str]:
    if not leaks:
        return
    yield ""
    month = leaks[0]["month"] is not None
    over = "30 days like these" if month else "the log, too short to tell a month by"
    yield f"The worst leaks, in {over} (two may be after the same money)"
    for number, leak in enumerate(leaks, 1):
        where = f"{visible(leak['what'])}, {visible(leak['model'])}"
        amount = over_month(leak["month"]) if month else dollars(leak["saved_usd"])
        yield f"{number:>2}. {amount}  {leak['kind']}: {where}"[:100]
        blamed = ", ".join(visible(one) for one in leak["blamed"])
        if leak["requests"]:
            yield f"    {counted(leak['requests'], 'request')}, above all {blamed}"
        elif blamed:
            yield f"    above all on {blamed}"
        if leak["note"]:
            yield f"    {leak['note']}"
        yield f"    {leak['fix']}"


def _wrapped(text: str) -> Iterator[str]:
    row = "  -"
    for word in text.split():
        if len(row) + len(word) >= 100:
            yield row
            row = "   "
        row += f" {word}"
    yield row
