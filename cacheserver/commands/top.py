"""`cacheserver top`: what a server answers, as it happens."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from cacheserver.commands import connection, lists
from cacheserver.commands.connection import Server
from cacheserver.core.command_line import OK, CommandLine, add_command
from cacheserver.core.terminal import output

_OUTCOMES: Final = ("exact", "semantic", "coalesced", "stale", "miss", "bypass", "failed")
_CLEAR: Final = "\x1b[H\x1b[J"  # cursor to the corner, and nothing below it


def add(line: CommandLine) -> None:
    """Add the command."""
    command = add_command(
        line.commands,
        "top",
        help="watch requests, cost and latency of one server, every two seconds",
        example="cacheserver top\ncacheserver top --json --count 30 > minute.jsonl",
        parents=[connection.options(admin=True)],
    )
    command.add_argument(
        "--count", type=lists.count, metavar="N", help="end after N updates (default: never)"
    )
    command.add_argument("--json", action="store_true", help="print each update as a line of JSON")
    command.set_defaults(run=connection.as_admin(line, _run), interrupted=None)


def _run(args: argparse.Namespace, server: Server) -> int:
    for number, event in enumerate(server.client.live(), 1):
        if args.json:
            print(json.dumps(event), flush=True)
        elif sys.stdout.isatty():
            print(_CLEAR + "\n".join(_screen(event)), flush=True)
        else:
            print(_line(event), flush=True)
        if number == args.count:
            break
    return OK


def _screen(event: Mapping[str, Any]) -> list[str]:
    now, total = event["now"], event["total"]
    seconds = max(event["seconds"], 0.001)
    rows = [
        (
            name,
            f"{now['decisions'][name] / seconds:,.1f}",
            *(_ms(now["latency"][name], part) for part in ("p50_ms", "p95_ms")),
            f"{total['decisions'][name]:,}",
        )
        for name in _OUTCOMES
    ]
    hits = sum(total["decisions"][name] for name in _OUTCOMES[:4])
    asked = hits + total["decisions"]["miss"]
    return [
        f"{output.moment(event['at'])}  {now['requests'] / seconds:,.1f} requests/s  "
        f"hit rate since it opened {output.percent(hits / asked if asked else None)}  "
        f"cost {output.dollars(total['cost_usd'])}  saved {output.dollars(total['saved_usd'])}",
        "",
        *output.table(("OUTCOME", "PER S", "P50 MS", "P95 MS", "TOTAL"), rows),
        "",
        "Ctrl-C ends it.",
    ]


def _line(event: Mapping[str, Any]) -> str:
    now = event["now"]
    some = " ".join(f"{name}={n}" for name, n in now["decisions"].items() if n)
    return (
        f"{output.moment(event['at'])} requests={now['requests']} "
        f"cost={output.dollars(now['cost_usd'])} saved={output.dollars(now['saved_usd'])} {some}"
    ).rstrip()


def _ms(latency: Mapping[str, float] | None, part: str) -> str:
    return "-" if latency is None else output.number(latency[part], 1)
