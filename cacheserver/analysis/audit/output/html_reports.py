"""The part of the page that rests on Anthropic's own reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cacheserver.analysis.audit.output.words import dollars, escaped

Data = Mapping[str, Any]


def section(found: Data) -> Iterator[str]:
    """As `invoicedata.section` tells it."""
    yield f"<h2>Anthropic's own reports, {found['days']:,} days</h2>"
    lines: list[tuple[str, str]] = []
    if float(found["cost_report_usd"]):
        lines.append(("cost report", found["cost_report_usd"]))
    if found["tokens"]:
        lines += [
            ("its tokens at our prices, as short prompts", found["spent_usd"]),
            ("saved by the prompt caching in place", found["caching_in_place_saved_usd"]),
            ("older models, more than their successors", found["older_models_usd"]),
            *((f"at most, by {lever}", usd) for lever, usd in found["at_most_usd"].items()),
        ]
    rows = "".join(
        f'<tr><th scope="row" class="name">{what}</th>'
        f'<td class="n">{escaped(dollars(usd))}</td></tr>'
        for what, usd in lines
    )
    yield f'<div class="wide"><table><tbody>{rows}</tbody></table></div>'
    for model, tokens in found["unpriced_tokens"].items():
        yield f"<p>No price is known for {tokens:,} tokens of <code>{escaped(model)}</code>.</p>"
    yield from _table("By model", found["by_model"][:20], logged=True)
    yield from _table("By workspace", found["by_workspace"][:20])
    yield from _table("By key", found["by_key"][:20])


def _table(title: str, rows: Sequence[Data], *, logged: bool = False) -> Iterator[str]:
    if not rows:
        return
    columns = ["at our prices", "cost report", *(["in the logs"] if logged else [])]
    yield f'<div class="wide"><table><caption>{title}</caption><thead><tr><th scope="col"></th>'
    yield "".join(f'<th scope="col" class="n">{name}</th>' for name in columns)
    yield "</tr></thead><tbody>"
    for row in rows:
        amounts = [row["spent_usd"], row["cost_report_usd"]]
        amounts += [row["logged_usd"]] if logged else []
        cells = "".join(f'<td class="n">{escaped(dollars(amount))}</td>' for amount in amounts)
        yield f'<tr><th scope="row" class="name">{escaped(row["name"])}</th>{cells}</tr>'
    yield "</tbody></table></div>"
