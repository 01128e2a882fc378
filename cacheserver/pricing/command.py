"""`cacheserver estimate FILE`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cacheserver.core.command_line import PRICES_HELP, CommandLine, say
from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.routing import CHEAPEST_MODEL


def add(line: CommandLine) -> None:
    """Add the command. Nothing heavy is imported until it runs."""
    estimate = line.commands.add_parser(
        "estimate", help="price a prompt or a plan before it is sent", parents=[line.configured]
    )
    estimate.add_argument(
        "file",
        type=Path,
        help="a Messages body, a batch's, or a plan as JSON; lines of them; a text",
    )
    estimate.add_argument("--model", default=CHEAPEST_MODEL, help="that a text is asked of")
    estimate.add_argument("--max-tokens", type=int, default=1_024, help="that answer a text")
    estimate.add_argument(
        "--batch", action="store_true", help="price lines and texts as in a batch"
    )
    estimate.add_argument("--prices", type=Path, help=PRICES_HELP)
    estimate.set_defaults(run=lambda asked: _run(asked, line))


def _run(asked: argparse.Namespace, line: CommandLine) -> int:
    from cacheserver.pricing import file_estimate, price_file

    settings = line.settings_of(asked)
    pricer = price_file.build_pricer(price_file.read_price_file(settings, asked.prices))
    try:
        found = file_estimate.estimate_file(
            asked.file, pricer, model=asked.model, max_tokens=asked.max_tokens, batch=asked.batch
        )
    except (OSError, ValueError, BadRequest) as error:
        say(f"cacheserver: {asked.file}: {error}")
        return 2
    print(json.dumps(found, indent=2))
    return 0
