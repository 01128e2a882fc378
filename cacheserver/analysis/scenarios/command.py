"""`cacheserver simulate` and `cacheserver presets`: workloads through the policies."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

from cacheserver.core.command_line import CommandLine


def add(line: CommandLine) -> None:
    """Add the commands to argparse's subparsers. Nothing else is imported until one runs."""
    command = line.commands.add_parser("simulate", help="what a workload would cost, and save")
    command.add_argument("scenario", nargs="?", help="a name from --list, or a TOML file")
    command.add_argument("--list", action="store_true", help="the scenarios that ship")
    command.add_argument(
        "--prices", default="today", help="`today`, `seeds`, or a price file (default: today)"
    )
    command.add_argument("--seed", type=int, help="of the randomness, in place of the scenario's")
    command.add_argument("--requests", type=_count, help="only the first so many")
    command.add_argument(
        "--conversations", type=_count, help="so many over the same days, in place of its own"
    )
    command.add_argument(
        "--processes",
        type=_count,
        default=1,
        help="kinds are shared out to so many (default: 1); each remembers its share of prefixes",
    )
    command.add_argument("--json", metavar="FILE", help="write all of it there, in nanodollars")
    command.set_defaults(run=run)

    presets = line.commands.add_parser(
        "presets", help="ten common workloads: what the planner picks, and how to apply one"
    )
    presets.add_argument("name", nargs="?", help="show one, and how to apply it to a tenant")
    presets.add_argument("--json", action="store_true", help="all of them, for programs")
    presets.set_defaults(run=run_presets)


def run(asked: argparse.Namespace) -> int:
    """Run a simulation. Return the exit status. Raises `SettingsError` for unreadable files."""
    from cacheserver.analysis.scenarios import report, shelf
    from cacheserver.analysis.scenarios.run import run as simulate
    from cacheserver.core.errors import SettingsError

    if asked.list:
        for name in shelf.names():
            print(f"{name:<22} {shelf.scenario(name).about}")
        return 0
    if asked.scenario is None:
        raise SettingsError("name a scenario: `cacheserver simulate --list` shows those there are")
    scenario = shelf.scenario(asked.scenario)
    if asked.seed is not None:
        scenario = replace(scenario, seed=asked.seed)
    if asked.conversations is not None:
        scenario = replace(scenario, conversations=asked.conversations)
    prices = shelf.prices(asked.prices)
    result = simulate(scenario, prices, requests=asked.requests, processes=asked.processes)
    print("\n".join(report.lines(result)))
    if asked.json is not None:
        try:
            Path(asked.json).write_text(json.dumps(report.as_json(result), indent=2) + "\n")
        except OSError as error:
            raise SettingsError(f"`{asked.json}`: {error.strerror or error}") from error
    return 0


def run_presets(asked: argparse.Namespace) -> int:
    """Print presets. Return the exit status. Raises `SettingsError` for an unknown name."""
    from cacheserver.analysis.scenarios import presets_report
    from cacheserver.pricing.prices import Pricer

    cost, now = Pricer().cost, time.time()
    if asked.json:
        print(json.dumps(presets_report.as_json(cost, now), indent=2))
    elif asked.name is None:
        print("\n".join(presets_report.table(cost, now)))
    else:
        print("\n".join(presets_report.one(asked.name, cost, now)))
    return 0


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
