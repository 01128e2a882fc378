"""`cacheserver decisions`: why requests were answered as they were."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final

from cacheserver.commands import connection, lists
from cacheserver.commands.connection import Server
from cacheserver.core.command_line import OK, CommandLine, add_command, add_json, print_json
from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal import output

_CONDITIONS: Final = {
    "outcome": "exact, semantic, coalesced, stale, miss, bypass or failed",
    "reason": "its reason, such as below-bar",
    "namespace": "its namespace",
    "scope": "its scope",
    "veto": "veto of the candidate",
    "model": "model that was asked for, or answered",
    "text": "a part of its question",
    "similarity_min": "least similarity of the candidate",
    "similarity_max": "greatest similarity",
    "probability_min": "least probability that the candidate serves",
    "probability_max": "greatest probability",
    "from": "not before this time: ISO 8601 or Unix seconds",
    "to": "before this time",
}
_HEAD: Final = ("TIME", "TENANT", "OUTCOME", "REASON", "SIM", "PROB", "SAVED", "ID", "QUESTION")


def add(line: CommandLine) -> None:
    """Add the command."""
    command = add_command(
        line.commands,
        "decisions",
        help="list the decisions of the last day, or show one",
        example="cacheserver decisions --outcome miss --reason below-bar\n"
        "cacheserver decisions dec_f4efcb28436b3817c5eb0495 --tenant shop",
        parents=[connection.options(admin=True, tenant=True)],
    )
    command.add_argument("id", nargs="?", metavar="ID", help="show this decision")
    lists.add_tenant(command)
    lists.add_conditions(command, _CONDITIONS)
    command.add_argument(
        "--near-misses",
        action="store_true",
        help="only misses that had a similar question, by what a hit would have saved",
    )
    lists.add_limits(command)
    add_json(command)
    command.set_defaults(run=connection.as_either(line, _run))


def _run(args: argparse.Namespace, server: Server) -> int:
    if args.id is not None:
        return _show(args, server)
    path = "/admin/v1/decisions" if server.admin else "/v1/decisions"
    if args.near_misses:
        if not server.admin:
            raise SettingsError("`--near-misses` needs an admin key")
        path = "/admin/v1/near-misses"
    chosen = lists.conditions(args, _CONDITIONS) | lists.tenant_of(args, server)
    found, following = server.items(path, lists.most(args), **chosen)
    return output.print_list(
        found,
        following,
        as_json=args.json,
        head=_HEAD,
        row=_row,
        empty="No decision of the last day is like that.",
    )


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    decision = one["decision"]
    nearest = (decision.get("candidates") or [{}])[0]
    similarity, probability = (
        decision.get(name) if decision.get(name) is not None else nearest.get(name)
        for name in ("similarity", "probability")
    )
    return (
        output.moment(one["at"]),
        one.get("tenant", ""),
        one["outcome"],
        _why(decision),
        output.number(similarity),
        output.number(probability),
        output.dollars(one.get("would_have_saved_usd", one["saved_usd"])),
        one["id"],
        one.get("asked"),
    )


def _show(args: argparse.Namespace, server: Server) -> int:
    id = connection.name(args.id)
    if server.admin:
        tenant = connection.name(lists.named_tenant(args))
        one = server.get(f"/admin/v1/tenants/{tenant}/decisions/{id}")
    else:
        one = server.get(f"/v1/decisions/{id}")
    if args.json:
        print_json(one)
        return OK
    decision = one["decision"]
    output.print_facts(
        {
            "asked": one.get("asked"),
            "outcome": f"{one['outcome']} ({_why(decision)})",
            "served": decision.get("question"),
            "similarity": output.number(decision.get("similarity")),
            "probability": output.number(decision.get("probability")),
            "bar": output.number(decision.get("bar")),
            "target": output.percent(decision.get("target")),
            "at": output.moment(one["at"]),
            "seconds": one["seconds"],
            "model": one["model"],
            "cost": output.dollars(one["cost_usd"]),
            "saved": output.dollars(one["saved_usd"]),
            "namespace": one["namespace"],
            "scope": one["scope"],
            "entry": one["entry_id"],
        }
    )
    if candidates := decision.get("candidates"):
        print()
        head = ("SIM", "PROB", "VETO", "ENTRY", "QUESTION")
        output.print_table(head, [_candidate(candidate) for candidate in candidates])
    return OK


def _why(decision: Mapping[str, Any]) -> str:
    """Return the reason in short. A record of an earlier version has only the reason."""
    return str(decision.get("why", decision["reason"]))


def _candidate(one: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        output.number(one.get("similarity")),
        output.number(one.get("probability")),
        one.get("veto") or "-",
        one["entry"],
        one.get("question"),
    )
