"""`cacheserver presets` as text: the table of all, or one and how to apply it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from cacheserver.analysis.scenarios.presets import (
    Pick,
    Preset,
    named,
    plan,
    presets,
    request_fields,
    tenant_rules,
)
from cacheserver.promptcache.multipliers import Cost

_HEAD: Final = ("preset", "the matrix's row", "the matrix picks", "the planner picks", "model")


def table(cost: Cost, now: float) -> Iterator[str]:
    """Yield a line for each preset, at the prices of `now`."""
    rows = [_HEAD]
    for preset in presets():
        chosen = plan(preset, cost, now)
        rows.append(
            (preset.name, preset.row, shown(preset.matrix), shown(chosen.pick), chosen.model)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield "`cacheserver presets NAME` shows how to apply one to a tenant."


def one(name: str, cost: Cost, now: float) -> Iterator[str]:
    """A preset and how to apply it. Raises `SettingsError` if there is none of that name."""
    preset = named(name)
    chosen, rules = plan(preset, cost, now), tenant_rules(preset)
    path = "/v1/jobs" if preset.patience_s else "/v1/query"
    yield f"{preset.name}: {preset.row}"
    yield f"assumed      {_assumed(preset)}"
    yield f"the matrix   {shown(preset.matrix)}"
    yield f"the planner  {shown(chosen.pick)}: {chosen.model} (`{chosen.reason}`)"
    yield ""
    if rules:
        yield "To the tenant, in place of what its `routing` says:"
        yield (
            "  curl -X PUT http://127.0.0.1:8080/admin/v1/tenants/TENANT "
            f"""-H "authorization: Bearer $ADMIN_KEY" -d '{json.dumps(rules)}'"""
        )
    else:
        yield "No rule is needed: each request is classified on its own."
    yield f"With each request, beside its `prompt`, to `POST {path}`:"
    yield f"  {json.dumps(request_fields(preset))}"


def as_json(cost: Cost, now: float) -> list[dict[str, Any]]:
    """Return every preset with its choices, for JSON."""
    return [
        {
            **asdict(preset),
            "picked": asdict(plan(preset, cost, now)),
            "tenant": tenant_rules(preset),
            "request": request_fields(preset),
        }
        for preset in presets()
    ]


def shown(pick: Pick) -> str:
    """A pick in words: the tier, the lifetime of the prompt cache, and when."""
    return f"{pick.tier}, {pick.caching or 'no marks'}, {'batch' if pick.batch else 'at once'}"


def _assumed(preset: Preset) -> str:
    patience = f"{preset.patience_s:,} s" if preset.patience_s else "no time"
    return (
        f"{preset.prefix_tokens:,} tokens in common, a request every {preset.gap_s:g} s, "
        f"{patience} to wait"
    )
