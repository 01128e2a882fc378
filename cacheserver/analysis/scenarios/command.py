"""`cacheserver simulate` and `cacheserver presets`: workloads through the policies."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

from cacheserver.core.command_line import CommandLine, add_command, add_json, print_json


def add(line: CommandLine) -> None:
    """Add the commands to argparse's subparsers. Nothing else is imported until one runs."""
    command = add_command(
        line.commands,
        "simulate",
        help="estimate the cost and savings of a workload",
        example="cacheserver simulate --list",
    )
    command.add_argument("scenario", nargs="?", help="a name that --list prints, or a TOML file")
    command.add_argument("--list", action="store_true", help="list the shipped scenarios")
    command.add_argument(
        "--prices", default="today", help="`today`, `seeds`, or a price file (default: today)"
    )
    command.add_argument("--seed", type=int, help="random seed (default: the scenario's)")
    command.add_argument("--requests", type=_count, help="stop after this many requests")
    command.add_argument(
        "--conversations",
        type=_count,
        help="number of conversations over the same days (default: the scenario's)",
    )
    command.add_argument(
        "--processes",
        type=_count,
        default=1,
        help="number of processes that share the kinds of requests (default: 1)",
    )
    add_json(command)
    command.add_argument(
        "--json-file", metavar="FILE", help="also write the result as JSON, in nanodollars"
    )
    command.set_defaults(run=run, interrupted="nothing was written; run it again")

    presets = add_command(
        line.commands,
        "presets",
        help="print ten common workloads with the planner's choices",
        example="cacheserver presets real-time-chat",
    )
    presets.add_argument("name", nargs="?", help="print one, and how to apply it to a tenant")
    add_json(presets)
    presets.set_defaults(run=run_presets)


def run(args: argparse.Namespace) -> int:
    """Run a simulation. Return the exit status. Raises `SettingsError` for unreadable files."""
    from cacheserver.analysis.scenarios import report, shelf
    from cacheserver.analysis.scenarios.run import run as simulate
    from cacheserver.core.errors import SettingsError
    from cacheserver.core.terminal.progress import Progress

    if args.list:
        about = {name: shelf.scenario(name).about for name in shelf.names()}
        if args.json:
            items = [{"name": name, "about": text} for name, text in about.items()]
            print_json({"items": items, "next": None})
        else:
            print("\n".join(f"{name:<22} {text}" for name, text in about.items()))
        return 0
    if args.scenario is None:
        raise SettingsError("name a scenario: `cacheserver simulate --list` shows those there are")
    scenario = shelf.scenario(args.scenario)
    if args.seed is not None:
        scenario = replace(scenario, seed=args.seed)
    if args.conversations is not None:
        scenario = replace(scenario, conversations=args.conversations)
    prices = shelf.prices(args.prices)
    unit = "requests" if args.processes == 1 else "processes"
    with Progress(only_terminal=True) as progress:
        result = simulate(
            scenario,
            prices,
            requests=args.requests,
            processes=args.processes,
            progress=lambda done, whole: progress.count("replaying", unit, done, whole),
        )
    if args.json:
        print_json(report.as_json(result))
    else:
        print("\n".join(report.lines(result)))
    if (file := args.json_file) is not None:
        try:
            Path(file).write_text(json.dumps(report.as_json(result), indent=2) + "\n")
        except OSError as error:
            raise SettingsError(f"`{file}`: {error.strerror or error}") from error
    return 0


def run_presets(args: argparse.Namespace) -> int:
    """Print presets. Return the exit status. Raises `SettingsError` for an unknown name."""
    from cacheserver.analysis.scenarios import presets_report
    from cacheserver.pricing.prices import Pricer

    cost, now = Pricer().cost, time.time()
    if args.json:
        print_json(presets_report.as_json(cost, now))
    elif args.name is None:
        print("\n".join(presets_report.table(cost, now)))
    else:
        print("\n".join(presets_report.one(args.name, cost, now)))
    return 0


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
