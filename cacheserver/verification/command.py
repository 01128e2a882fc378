"""Command that measures a verifying model on labelled pairs: `cacheserver verify-model PAIRS`."""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cacheserver.core.command_line import PRICES_HELP, CommandLine, add_command, add_json, say
from cacheserver.core.terminal.counts import counted
from cacheserver.core.terminal.progress import Progress

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings
    from cacheserver.pricing.prices import Pricer
    from cacheserver.verification.labelled_pairs import LabelledPair
    from cacheserver.verification.measurement import Measured


def add(line: CommandLine) -> None:
    """Add the command. Nothing heavy is imported until it runs."""
    command = add_command(
        line.commands,
        "verify-model",
        help="measure a verifying model on labelled pairs",
        example="cacheserver verify-model pairs.tsv --max-usd 0.50",
        parents=[line.configured],
    )
    command.add_argument(
        "pairs",
        type=Path,
        metavar="PAIRS",
        help="a .tsv, .csv or .jsonl file: question_a, question_b, answer (to question_a), label "
        "(yes: it serves question_b); set, class and system are optional",
    )
    command.add_argument("--model", help="the model (default: CACHESERVER_VERIFY_MODEL)")
    command.add_argument(
        "--max-usd", type=float, default=1.0, help="the most that the calls may cost (default: 1)"
    )
    command.add_argument(
        "--at-once", type=int, default=4, help="calls in flight together (default: 4)"
    )
    command.add_argument("--prices", type=Path, help=PRICES_HELP)
    add_json(command)
    command.set_defaults(
        run=lambda args: _run(args, line.settings_of(args)),
        interrupted="calls that were made are paid; nothing is stored",
    )


def _run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the figures. Return the exit status: 1 if no call was answered."""
    from cacheserver.core import json_text
    from cacheserver.core.errors import SettingsError
    from cacheserver.pricing import price_file
    from cacheserver.verification import labelled_pairs, measurement

    if not args.max_usd > 0:
        raise SettingsError("`--max-usd` must be more than 0")
    if args.at_once < 1:
        raise SettingsError("`--at-once` must be 1 or more")
    pairs = labelled_pairs.read(args.pairs)
    pricer = price_file.build_pricer(price_file.read_price_file(settings, args.prices))
    measured, simulated = asyncio.run(_measure(args, settings, pairs, pricer))
    model = args.model or settings.verify_model
    whole, groups = measurement.figures(measured), measurement.by_group(measured)
    if args.json:
        report = {
            "model": model,
            "simulated": simulated,
            **whole.as_json(),
            "sets": {name: one.as_json() for name, one in groups.items()},
            "settings": measurement.settings(whole),
        }
        print(json_text.dumps(report).decode())
    else:
        print("\n".join(measurement.lines(model, whole, groups, simulated=simulated)))
    return 0 if whole.answered else 1


async def _measure(
    args: argparse.Namespace, settings: Settings, pairs: list[LabelledPair], pricer: Pricer
) -> tuple[list[Measured], bool]:
    """Return the reply to each pair, and whether a simulated model gave any."""
    import cacheserver.claude.build as claude
    from cacheserver.config import kernel
    from cacheserver.config.settings import resolve_upstream
    from cacheserver.core.errors import SettingsError
    from cacheserver.observability.metrics import Metrics
    from cacheserver.simulated import SimulatedSettings, serve_simulated
    from cacheserver.verification.pair_calls import PairCalls

    async with AsyncExitStack() as stack:
        url = None
        if resolve_upstream(settings).base_url is None:
            url = await stack.enter_async_context(serve_simulated(SimulatedSettings()))
        options = kernel.claude_options(settings, url)
        if options.api_key is None and (secret := settings.anthropic_api_key) is not None:
            options = replace(options, api_key=secret.get_secret_value())
        calls = PairCalls(
            claude=await stack.enter_async_context(claude.build(options, Metrics())),
            pricer=pricer,
            model=args.model or settings.verify_model,
            most_tokens=settings.verify_max_tokens,
            at_once=args.at_once,
            timer=time.perf_counter,
            now=time.time(),
        )
        count, expected, most = calls.costs(pairs)
        say(
            f"{counted(count, 'call')} of {calls.model}: about ${expected / 1e9:.4f}, at most "
            f"${most / 1e9:.4f} (--max-usd {args.max_usd:g})"
        )
        if most > args.max_usd * 1e9:
            raise SettingsError(
                f"`--max-usd`: the calls may cost ${most / 1e9:.4f}; raise it, or give fewer pairs"
            )
        found: list[Measured] = []
        progress = stack.enter_context(Progress(only_terminal=True))
        simulated = False
        async for one, made_up in calls.ask(pairs):
            found.append(one)
            simulated |= made_up
            progress.count("asking", "pairs", len(found), len(pairs))
        return found, simulated
