"""`cacheserver index`: where the vectors are, and their move to another index."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any, Final

from cacheserver.commands import connection
from cacheserver.commands.connection import Server
from cacheserver.core.command_line import (
    NO,
    OK,
    CommandLine,
    add_command,
    add_json,
    add_verbs,
    print_done,
    print_json,
    say,
)
from cacheserver.core.terminal import output
from cacheserver.core.terminal.counts import counted
from cacheserver.core.terminal.progress import Progress

_KINDS: Final = ("faiss", "vector-sets")
_LOOK_S: Final = 0.5


def add(line: CommandLine) -> None:
    """Add the commands."""
    admin = connection.options(admin=True)
    verbs = add_verbs(
        add_command(line.commands, "index", help="show and move the index of questions")
    )
    show = add_command(
        verbs,
        "show",
        help="show where the vectors are, and a move under way",
        example="cacheserver index show",
        parents=[admin],
    )
    add_json(show)
    show.set_defaults(run=connection.as_admin(line, _show))
    move = add_command(
        verbs,
        "move",
        help="move the vectors to another index while the servers serve",
        example="cacheserver index move --to vector-sets",
        parents=[admin],
    )
    move.add_argument("--to", required=True, choices=_KINDS, help="the index to use from then on")
    add_json(move)
    move.set_defaults(
        run=connection.as_admin(line, _move),
        interrupted="the server goes on moving; `index show` says how far it is",
    )


def _show(args: argparse.Namespace, server: Server) -> int:
    found = _index(server)
    if args.json:
        print_json(found)
        return OK
    print(_sentence(found))
    scopes = found.get("scopes")  # a server without a limit holds all of them
    if scopes is not None and scopes["limit_bytes"] is not None:
        print(f"in memory: {scopes['loaded']:,} of {counted(scopes['known'], 'scope')}")
    if found["moving_to"] is not None:
        questions = counted(found["total"], "question")
        print(f"moving to {found['moving_to']}: {found['done']:,} of {questions}")
    if found["problem"] is not None:
        print(f"problem: {output.one_line(found['problem'])}")
    if found["failing"]:
        print("problem: the index does not answer; exact hits alone are served")
    return OK


def _move(args: argparse.Namespace, server: Server) -> int:
    """Ask for the move and wait for it. Ctrl-C ends the waiting, not the move."""
    server.put("/admin/v1/settings", {"index": args.to})
    began = time.monotonic()
    with Progress() as progress:
        while (found := _index(server))["kind"] != args.to or found["moving_to"] is not None:
            # A problem of the try before is shown until this one begins.
            if found["problem"] is not None and time.monotonic() - began > _LOOK_S:
                say(f"cannot be moved yet: {output.one_line(found['problem'])}")
                say(f"the server tries again; `index move --to {found['kind']}` ends that")
                return NO
            if found["moving_to"] is not None:
                progress.count("moving", "questions", found["done"], found["total"])
            time.sleep(_LOOK_S)
    print_done(args, found, _sentence(found))
    return OK


def _sentence(index: Mapping[str, Any]) -> str:
    return f"index: {index['kind']}, {counted(index['vectors'], 'vector')}"


def _index(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.get("/admin/v1/stats")["index"]
    return found
