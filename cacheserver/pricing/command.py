"""`cacheserver estimate FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from cacheserver.core.command_line import (
    OK,
    PRICES_HELP,
    WRONG,
    CommandLine,
    add_command,
    add_json,
    print_json,
    say,
)
from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.routing import CHEAPEST_MODEL
from cacheserver.core.terminal import output


def add(line: CommandLine) -> None:
    """Add the command. Nothing heavy is imported until it runs."""
    estimate = add_command(
        line.commands,
        "estimate",
        help="estimate the price of a prompt, a batch or a plan",
        example="cacheserver estimate body.json\n"
        "cacheserver estimate prompt.txt --max-tokens 500 --json",
        parents=[line.configured],
    )
    estimate.add_argument(
        "file",
        type=Path,
        help="JSON of a Messages body, a batch or a plan; JSON lines of bodies; or plain text",
    )
    estimate.add_argument("--model", default=CHEAPEST_MODEL, help="model for plain text")
    estimate.add_argument(
        "--max-tokens", type=int, default=1_024, help="output tokens for plain text"
    )
    estimate.add_argument(
        "--batch", action="store_true", help="use batch prices for JSON lines and plain text"
    )
    estimate.add_argument("--prices", type=Path, help=PRICES_HELP)
    add_json(estimate)
    estimate.set_defaults(run=lambda args: _run(args, line))


def _run(args: argparse.Namespace, line: CommandLine) -> int:
    from cacheserver.pricing import file_estimate, price_file

    settings = line.settings_of(args)
    pricer = price_file.build_pricer(price_file.read_price_file(settings, args.prices))
    try:
        found = file_estimate.estimate_file(
            args.file, pricer, model=args.model, max_tokens=args.max_tokens, batch=args.batch
        )
    except (OSError, ValueError, BadRequest) as error:
        say(f"cacheserver: {args.file}: {error}")
        return WRONG
    if args.json:
        print_json(found)
    else:
        output.print_facts(output.flat(found))
    return OK
