"""`cacheserver calibrate PAIRS`: the bar that labelled pairs ask for, from the server's model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cacheserver.commands import connection
from cacheserver.commands.connection import Server
from cacheserver.core.command_line import (
    NO,
    OK,
    CommandLine,
    add_command,
    add_json,
    print_json,
    say,
)
from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal import output, question_pairs
from cacheserver.core.terminal.counts import counted

_SHOWN: Final = 12  # points of a curve: they fit on a screen


def add(line: CommandLine) -> None:
    """Add the command."""
    command = add_command(
        line.commands,
        "calibrate",
        help="recommend a bar from labelled pairs of questions",
        example="cacheserver calibrate pairs.tsv --target 0.01\n"
        "cacheserver calibrate pairs.tsv --tenant shop --scope ID --confirm",
        parents=[connection.options(admin=True)],
    )
    command.add_argument(
        "pairs",
        type=Path,
        metavar="PAIRS",
        help="a .tsv, .csv or .jsonl file: query_a, query_b, label (1: one answer serves both)",
    )
    command.add_argument(
        "--target", type=float, default=0.01, metavar="SHARE", help="highest share of wrong hits"
    )
    command.add_argument("--tenant", metavar="NAME", help="a scope of this tenant learns the pairs")
    command.add_argument("--scope", metavar="ID", help="the scope that learns")
    command.add_argument(
        "--confirm", action="store_true", help="learn them; without it, say how many would be"
    )
    add_json(command)
    command.set_defaults(
        run=connection.as_admin(line, _run),
        interrupted="run it again: a pair that was learned counts once",
    )


def _run(args: argparse.Namespace, server: Server) -> int:
    """Print the curve and the bar. Return `NO` if no bar can be recommended."""
    if (args.tenant is None) != (args.scope is None):
        raise SettingsError("`--tenant` and `--scope` go together")
    if args.confirm and args.tenant is None:
        raise SettingsError("`--confirm` goes with `--tenant`")
    pairs = [
        {"query_a": pair.query_a, "query_b": pair.query_b, "label": int(pair.serves)}
        for pair in question_pairs.read(args.pairs)
    ]
    body: dict[str, Any] = {"pairs": pairs, "target": args.target}
    if args.tenant is not None:
        body["teach"] = {"tenant": args.tenant, "scope": args.scope, "confirm": args.confirm}
    say(f"{counted(len(pairs), 'pair')}; the server embeds the questions now.")
    found = server.post("/admin/v1/calibrate", body)
    advice = found["recommended"]
    if args.json:
        print_json(found)
    else:
        _tell(found)
    return OK if advice.get("bar") is not None else NO


def _tell(found: Mapping[str, Any]) -> None:
    pairs = counted(found["pairs"], "pair")
    print(f"{pairs}, {found['vetoed']:,} vetoed, {found['unread']:,} unreadable\n")
    curve = found["probability"]["curve"]
    step = max(1, -(-len(curve) // _SHOWN))
    output.print_table(
        ("PROBABILITY", "HIT RATE", "WRONG", "AT MOST"),
        [
            (
                output.number(point["bar"]),
                output.percent(point["hit_rate"]),
                output.percent(point["wrong_rate"]),
                output.percent(point["wrong_high"]),
            )
            for point in curve[::step]
        ],
    )
    advice = found["recommended"]
    why = f" ({advice['why']})" if advice.get("why") else ""
    print(f"\nrecommended bar: {advice['bar'] or 'none'}{why}")
    if (taught := found.get("taught")) is not None:
        done = "would be learned; --confirm does it" if taught["dry_run"] else "learned"
        print(f"{counted(taught['labels'], 'label')} {done}.")
