"""`cacheserver lint FILE...`."""

from __future__ import annotations

import argparse
from pathlib import Path

from cacheserver.core.command_line import PRICES_HELP, CommandLine, add_command, add_json, say
from cacheserver.core.rules.routing import CHEAPEST_MODEL


def add(line: CommandLine) -> None:
    """Add the command. Nothing heavy is imported until it runs."""
    lint = add_command(
        line.commands,
        "lint",
        help="find wasted tokens in a prompt",
        example="cacheserver lint prompt.txt body.json",
        parents=[line.configured],
    )
    lint.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a Messages body as JSON, or the text of a system prompt",
    )
    lint.add_argument(
        "--model", default=CHEAPEST_MODEL, help="model whose tokens and prices to use"
    )
    lint.add_argument("--prices", type=Path, help=PRICES_HELP)
    lint.add_argument(
        "--requests-a-day", type=int, default=1_000, help="how often the prompt is sent in a day"
    )
    add_json(lint)
    lint.set_defaults(run=lambda args: _run(args, line))


def _run(args: argparse.Namespace, line: CommandLine) -> int:
    from cacheserver.lint import terminal
    from cacheserver.pricing import price_file

    settings = line.settings_of(args)
    pricer = price_file.build_pricer(price_file.read_price_file(settings, args.prices))
    return terminal.run(
        [Path(name) for name in args.files],
        pricer=pricer,
        model=args.model,
        requests_a_day=args.requests_a_day,
        as_json=args.json,
        say=say,
    )
