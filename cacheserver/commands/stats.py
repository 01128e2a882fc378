"""`cacheserver stats`: requests, hits, cost and savings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final

from cacheserver.commands import connection, lists
from cacheserver.commands.connection import Server
from cacheserver.core.command_line import OK, CommandLine, add_command, add_json, print_json
from cacheserver.core.terminal import output

_OUTCOMES: Final = ("exact", "semantic", "coalesced", "stale", "miss", "bypass", "failed")
_SPANS: Final = {"today": "today", "7 days": "week", "this month": "month"}


def add(line: CommandLine) -> None:
    """Add the command."""
    command = add_command(
        line.commands,
        "stats",
        help="show requests, hits, cost and savings",
        example="cacheserver stats --tenant shop",
        parents=[connection.options(admin=True, tenant=True)],
    )
    lists.add_tenant(command)
    add_json(command)
    command.set_defaults(run=connection.as_either(line, _run))


def _run(args: argparse.Namespace, server: Server) -> int:
    path = "/admin/v1/overview" if server.admin else "/v1/overview"
    found = server.get(path, **lists.tenant_of(args, server))
    if args.json:
        print_json(found)
        return OK
    print(f"tenant: {output.one_line(found['tenant'] or 'all')}\n")
    money = found["money"]
    output.print_table(
        ("", "REQUESTS", "PAID", "SAVED", "NET SAVED", "WITHOUT CACHE"),
        [_span(name, money[span]) for name, span in _SPANS.items()],
    )
    hits = found["hits"]
    rows = [
        (name, f"{hits['decisions'][name]:,}", output.percent(hits["shares"][name]))
        for name in _OUTCOMES
    ]
    print()
    output.print_table(("7 DAYS", "REQUESTS", "SHARE"), rows)
    print(f"\nhit rate in 7 days: {output.percent(hits['hit_rate'])}")
    for text in _wrong(found.get("wrong_hits")):
        print(text)
    alerts = found.get("alerts") or {"count": 0, "last": ()}
    for alert in alerts["last"]:
        print(f"alert: {output.one_line(alert['text'])}")
    return OK


def _span(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    amounts = ("paid_usd", "saved_usd", "net_saved_usd", "counterfactual_usd")
    return (name, f"{one['requests']:,}", *(output.dollars(one[amount]) for amount in amounts))


def _wrong(found: Mapping[str, Any] | None) -> list[str]:
    """Return what labels say of similar hits."""
    if found is None or not found.get("labels"):
        return []
    low, high = found["interval"]
    return [
        f"wrong semantic hits this month: {output.percent(found['share'])} "
        f"({output.percent(low)} to {output.percent(high)}, {found['labels']} labels); "
        f"target {output.percent(found['target'])}"
    ]
