"""`cacheserver estimate FILE`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cacheserver.core.command_line import PRICES_HELP, CommandLine, add_command, say
from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.routing import CHEAPEST_MODEL


def add(line: CommandLine) -> None:
    """Add the command. Nothing heavy is imported until it runs."""
    estimate = add_command(
        line.commands,
        "estimate",
        help="estimate the price of a prompt, a batch or a plan",
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
        return 2
    print(json.dumps(found, indent=2))
    return 0
