"""`cacheserver review`: say of the least sure pairs whether one answer serves both questions.

Rule: each verdict is stored before the next pair is shown, so an end at any moment loses none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final

from cacheserver.commands import connection, lists
from cacheserver.commands.connection import Server
from cacheserver.core.command_line import OK, CommandLine, add_command, add_json, print_json, say
from cacheserver.core.terminal import output
from cacheserver.core.terminal.prompts import key_pressed

_KEYS: Final = "y: it serves   n: it does not   s: skip   u: undo   q: quit"
_VERDICTS: Final = {"y": "yes", "n": "no", "s": "skip"}
_PAGE: Final = 20  # pairs that are fetched at once; each verdict changes which are unsure
_PATH: Final = "/admin/v1/labels"


def add(line: CommandLine) -> None:
    """Add the command."""
    command = add_command(
        line.commands,
        "review",
        help="label pairs of questions in the terminal",
        example="cacheserver review --tenant shop\ncacheserver review --tenant shop --list --json",
        parents=[connection.options(admin=True)],
    )
    command.add_argument("--tenant", required=True, metavar="NAME", help="whose pairs they are")
    command.add_argument("--scope", metavar="ID", help="only of this scope")
    command.add_argument("--who", metavar="NAME", help="who labels (default: the key's name)")
    command.add_argument("--list", action="store_true", help="only list the pairs")
    command.add_argument(
        "--limit", type=lists.count, metavar="N", help="end after N pairs (default: all)"
    )
    add_json(command)
    command.set_defaults(
        run=connection.as_admin(line, _run),
        interrupted="every verdict given is stored; run it again to go on",
    )


def _run(args: argparse.Namespace, server: Server) -> int:
    if args.list:
        found, following = server.items(
            f"{_PATH}/queue", args.limit, tenant=args.tenant, scope=args.scope
        )
        return output.print_list(
            found,
            following,
            as_json=args.json,
            head=("SERVED", "PROB", "STORED QUESTION", "ASKED"),
            row=lambda one: (
                "yes" if one["served"] else "no",
                output.number(one["probability"]),
                output.cut(one["query_a"], 60),
                one["query_b"],
            ),
            empty="No pair waits for a label.",
        )
    counts = dict.fromkeys(_VERDICTS.values(), 0)
    _label(args, server, counts)
    if args.json:
        print_json(counts)
    else:
        print(", ".join(f"{verdict}: {count}" for verdict, count in counts.items()))
    return OK


def _label(args: argparse.Namespace, server: Server, counts: dict[str, int]) -> None:
    """Ask about one pair after the other, until there are none or the person has enough."""
    given: list[tuple[Mapping[str, Any], str]] = []
    waiting: Iterator[Mapping[str, Any]] = _pairs(args, server)
    pair = next(waiting, None)
    if pair is None:
        say("No pair waits for a label.")
    while pair is not None and (args.limit is None or sum(counts.values()) < args.limit):
        _show(pair)
        match key := key_pressed():
            case "y" | "n" | "s":
                verdict = _VERDICTS[key]
                who = {} if args.who is None else {"who": args.who}
                body = {"tenant": args.tenant, "pair": pair["pair"], "verdict": verdict, **who}
                done = server.post(_PATH, body)
                counts[verdict] += 1
                given.append((pair, verdict))
                say(f"{verdict}{_uncounted(done)}")
                pair = next(waiting, None)
            case "u" if given:
                waiting = chain((pair,), waiting)  # after the one that is asked again
                pair, verdict = given.pop()
                server.post(f"{_PATH}/undo", {"tenant": args.tenant, "pair": pair["pair"]})
                counts[verdict] -= 1
                say(f"Taken back: {verdict}.")
            case "u":
                say("No verdict was given yet.")
            case "q" | "":
                return
            case _:
                say(_KEYS)


def _pairs(args: argparse.Namespace, server: Server) -> Iterator[Mapping[str, Any]]:
    """Yield the pairs without a label, the least sure first; none comes twice."""
    seen: set[str] = set()
    while True:
        page = server.get(f"{_PATH}/queue", tenant=args.tenant, scope=args.scope, limit=_PAGE)
        fresh = [pair for pair in page["items"] if pair["pair"] not in seen]
        if not fresh:
            return
        for pair in fresh:
            seen.add(pair["pair"])
            yield pair


def _show(pair: Mapping[str, Any]) -> None:
    """Print a pair on stderr: stdout has the result alone."""
    served = "was served" if pair["served"] else "was not served"
    facts = f"similarity {output.number(pair['similarity'])}"
    if pair["probability"] is not None:
        facts += f", probability {output.number(pair['probability'])}"
    for line in (
        "",
        f"stored  {output.one_line(pair['query_a'])}",
        f"asked   {output.one_line(pair['query_b'])}",
        f"answer  {output.paragraphs(pair['answer'])}",
        f"        {served}; {facts}",
        "",
        f"Does the answer serve what was asked?   {_KEYS}",
    ):
        print(line, file=sys.stderr, flush=True)


def _uncounted(done: Mapping[str, Any]) -> str:
    """Return why a label corrects no probability, if it does not."""
    return f" (not counted: {done['reason']})" if done.get("counted") is False else ""
