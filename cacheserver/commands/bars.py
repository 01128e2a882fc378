"""`cacheserver bar`: what a candidate must clear to serve, shown, tried, set and taken back."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final

from cacheserver.commands import connection, lists
from cacheserver.commands.connection import Server
from cacheserver.core.command_line import (
    OK,
    CommandLine,
    add_command,
    add_json,
    add_verbs,
    print_json,
    say,
)
from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal import output
from cacheserver.core.terminal.counts import counted

_LEVELS: Final = ("namespace", "scope")
_CHANGES: Final = {"begins": "begins", "ends": "ends  "}  # as wide as "stored", less its indent


def add(line: CommandLine) -> None:
    """Add the command."""
    admin = connection.options(admin=True)
    bar = add_command(line.commands, "bar", help="show, try, set and take back a tenant's bars")
    verbs = add_verbs(bar)
    show = add_command(
        verbs,
        "show",
        help="show the bars of a tenant, its namespaces and scopes",
        example="cacheserver bar show --tenant shop",
        parents=[admin],
    )
    show.set_defaults(run=connection.as_admin(line, _show))
    change = add_command(
        verbs,
        "set",
        help="set one bar, or try it on the decisions of the last day",
        example="cacheserver bar set --tenant shop --target 0.02 --dry-run\n"
        "cacheserver bar set --tenant shop --namespace help --similarity 0.95",
        parents=[admin],
    )
    kind = change.add_mutually_exclusive_group(required=True)
    kind.add_argument(
        "--target", type=float, metavar="SHARE", help="highest share of wrong semantic hits: 0.01"
    )
    kind.add_argument(
        "--similarity", type=float, metavar="COSINE", help="least similarity, instead of a target"
    )
    kind.add_argument("--exact-only", action="store_true", help="serve no similar questions")
    kind.add_argument(
        "--default", action="store_true", help="remove the bar: the level above holds"
    )
    change.add_argument(
        "--veto-off", action="append", metavar="VETO", help="a veto to leave out; repeatable"
    )
    change.add_argument("--dry-run", action="store_true", help="only say what would change")
    change.set_defaults(run=connection.as_admin(line, _set))
    undo = add_command(
        verbs,
        "undo",
        help="take back the last change of a bar",
        example="cacheserver bar undo --tenant shop",
        parents=[admin],
    )
    undo.set_defaults(run=connection.as_admin(line, _undo))
    history = add_command(
        verbs,
        "history",
        help="list who changed which bar",
        example="cacheserver bar history --tenant shop",
        parents=[admin],
    )
    lists.add_limits(history)
    history.set_defaults(run=connection.as_admin(line, _history))
    for command in (show, change, undo, history):
        command.add_argument("--tenant", required=True, metavar="NAME", help="whose bars they are")
        add_json(command)
    for command in (change, undo):
        level = command.add_mutually_exclusive_group()
        level.add_argument("--namespace", metavar="NAME", help="of this namespace")
        level.add_argument("--scope", metavar="ID", help="of this scope")


def _show(args: argparse.Namespace, server: Server) -> int:
    return _bars(args, server.get(_path(args)))


def _set(args: argparse.Namespace, server: Server) -> int:
    if args.veto_off and args.default:
        raise SettingsError("`--veto-off` goes with a bar, not with --default")
    bar: dict[str, Any] = {
        name: value
        for name in ("target", "similarity")
        if (value := getattr(args, name)) is not None
    }
    if args.exact_only:
        bar["exact_only"] = True
    if args.veto_off:
        bar["vetoes_off"] = args.veto_off
    body = _level(args) | {"bar": None if args.default else bar, "dry_run": args.dry_run}
    done = server.put(_path(args), body)
    if args.json:
        print_json(done)
        return OK
    if not args.dry_run:
        say("Set. `cacheserver bar undo`, with the same names, takes it back.")
        return _bars(args, done["after"])
    tried = done["would_have"]
    replayed = tried["replayed"]
    if not replayed["decisions"]:
        say("There is no decision of the last day to try it on. Nothing is changed.")
        return OK
    rows = [
        (
            when,
            f"{replayed[f'hits_{when}']:,}",
            output.dollars(replayed[f"saved_{when}_usd"]),
            *_wrong(tried.get(f"wrong_{when}")),
        )
        for when in ("before", "after")
    ]
    print(
        f"{counted(replayed['decisions'], 'decision')} since {output.moment(replayed['since'])}:\n"
    )
    output.print_table(("", "SIMILAR HITS", "SAVED", "WRONG, BY LABELS", "LABELS"), rows)
    print(f"\n{counted(replayed['begun'], 'new hit')}, {counted(replayed['ended'], 'hit')} lost.")
    _print_questions(tried["questions"])
    say("Nothing is changed.")
    return OK


def _print_questions(page: Mapping[str, Any]) -> None:
    """Print the questions that change sides, each above the stored one: to be read together."""
    for one in page["items"]:
        asked, stored = (output.one_line(one[name]) or "-" for name in ("asked", "question"))
        measured = f"similarity {output.number(one['similarity'])}"
        print(f"\n{_CHANGES.get(one['change'], one['change'])}  {asked}")
        print(f"  stored  {stored}  ({measured})")
    if page["next"] is not None:
        say("There are more: they are on the admin page, under Tuning.")


def _wrong(found: Mapping[str, Any] | None) -> tuple[str, str]:
    if found is None or found.get("share") is None:
        return ("-", "-")
    low, high = found["interval"]
    share = f"{output.percent(found['share'])} ({output.percent(low)} to {output.percent(high)})"
    return (share, f"{found['labels']}")


def _undo(args: argparse.Namespace, server: Server) -> int:
    done = server.post(f"{_path(args)}/undo", _level(args))
    if args.json:
        print_json(done)
        return OK
    undone = done["undone"]
    who, at = output.one_line(undone["who"]), output.moment(undone["at"])
    say(f"Taken back: the change by {who} at {at}.")
    return _bars(args, done["after"])


def _history(args: argparse.Namespace, server: Server) -> int:
    found, following = server.items(f"{_path(args)}/history", lists.most(args))
    return output.print_list(
        found,
        following,
        as_json=args.json,
        head=("TIME", "WHO", "LEVEL", "NAME", "BEFORE", "AFTER"),
        row=lambda one: (
            output.moment(one["at"]),
            one["who"],
            one["level"],
            one["name"] or "-",
            _said(one["before"]),
            _said(one["after"]),
        ),
        empty="No bar was changed.",
    )


def _bars(args: argparse.Namespace, found: Mapping[str, Any]) -> int:
    if args.json:
        print_json(found)
        return OK
    rows = [("tenant", args.tenant, _said(found["tenant"]))]
    for level in _LEVELS:
        rows += [(level, name, _said(bar)) for name, bar in found[f"{level}s"].items()]
    output.print_table(("LEVEL", "NAME", "BAR"), rows)
    return OK


def _said(bar: Mapping[str, Any] | None) -> str:
    """Return a bar in words."""
    if bar is None:
        return "default"
    if bar.get("exact_only"):
        return "exact hits only"
    words = []
    if bar.get("similarity") is not None:
        words.append(f"similarity {bar['similarity']}")
    elif bar.get("target") is not None:
        words.append(f"target {bar['target']:.2%}")
    if bar.get("vetoes_off"):
        words.append(f"without the vetoes {', '.join(bar['vetoes_off'])}")
    return ", ".join(words) or "default"


def _path(args: argparse.Namespace) -> str:
    return f"/admin/v1/tenants/{connection.name(args.tenant)}/bars"


def _level(args: argparse.Namespace) -> dict[str, str]:
    for level in _LEVELS:
        if (named := getattr(args, level)) is not None:
            return {"level": level, "name": named}
    return {}
