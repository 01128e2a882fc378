"""`cacheserver lint FILE...`."""

from __future__ import annotations

import argparse
from pathlib import Path

from cacheserver.core.command_line import PRICES_HELP, CommandLine, say
from cacheserver.core.rules.routing import CHEAPEST_MODEL


def add(line: CommandLine) -> None:
    """Add the command. Nothing heavy is imported until it runs."""
    lint = line.commands.add_parser(
        "lint", help="find what costs tokens for nothing in a prompt", parents=[line.configured]
    )
    lint.add_argument("files", nargs="+", metavar="FILE", help="a Messages body as JSON, or a text")
    lint.add_argument("--model", default=CHEAPEST_MODEL, help="whose tokens and prices")
    lint.add_argument("--prices", type=Path, help=PRICES_HELP)
    lint.add_argument("--requests-a-day", type=int, default=1_000, help="how often it is sent")
    lint.add_argument("--json", action="store_true", help="all of it, for programs")
    lint.set_defaults(run=lambda asked: _run(asked, line))


def _run(asked: argparse.Namespace, line: CommandLine) -> int:
    from cacheserver.lint import terminal
    from cacheserver.pricing import price_file

    settings = line.settings_of(asked)
    pricer = price_file.build_pricer(price_file.read_price_file(settings, asked.prices))
    return terminal.run(
        [Path(name) for name in asked.files],
        pricer=pricer,
        model=asked.model,
        requests_a_day=asked.requests_a_day,
        as_json=asked.json,
        say=say,
    )
