"""`cacheserver evaluate PAIRS`: a gate for CI, on labelled pairs of one's own."""

from __future__ import annotations

import argparse
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cacheserver.core.command_line import (
    NO,
    OK,
    CommandLine,
    add_command,
    add_json,
    print_json,
    say,
)
from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal import output, question_pairs
from cacheserver.core.terminal.progress import Progress

if TYPE_CHECKING:
    from cacheserver.analysis.evaluation.figures import Figures, Judged
    from cacheserver.config.settings import Settings
    from cacheserver.core.terminal.question_pairs import QuestionPair
    from cacheserver.core.types import Bar

_SHOWN: Final = 20  # wrong pairs that are printed; --json has all


def add(line: CommandLine) -> None:
    """Add the command. Nothing heavy is imported until it runs."""
    command = add_command(
        line.commands,
        "evaluate",
        help="measure hits and wrong hits on labelled pairs; a gate for CI",
        example="cacheserver evaluate pairs.tsv --max-wrong 0.01 --min-hits 0.2",
        parents=[line.configured],
    )
    command.add_argument(
        "pairs",
        type=Path,
        metavar="PAIRS",
        help="a .tsv, .csv or .jsonl file: query_a, query_b, label (1: one answer serves both)",
    )
    command.add_argument(
        "--max-wrong", type=_share, metavar="SHARE", help="fail if more of the hits are wrong"
    )
    command.add_argument(
        "--min-hits", type=_share, metavar="SHARE", help="fail if fewer of the pairs are hits"
    )
    bar = command.add_mutually_exclusive_group()
    bar.add_argument(
        "--target", type=float, metavar="SHARE", help="the bar as a target (default: the server's)"
    )
    bar.add_argument(
        "--similarity", type=float, metavar="COSINE", help="the bar as a least similarity"
    )
    command.add_argument("--system", metavar="TEXT", help="system prompt of both questions")
    add_json(command)
    command.set_defaults(
        run=lambda args: _run(args, line.settings_of(args)),
        interrupted="nothing is stored; run it again",
    )


def _run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the figures. Return `NO` if a limit is not kept."""
    from cacheserver.analysis.evaluation import figures

    pairs = question_pairs.read(args.pairs)
    bar = _bar(args, settings)
    judged = _judge(pairs, bar, settings, args.system)
    found = figures.count(judged)
    broken = figures.broken(found, max_wrong=args.max_wrong, min_hits=args.min_hits)
    wrong = [one for one in judged if one.wrong]
    if args.json:
        shown: dict[str, Any] = {
            "bar": {"target": bar.target, "similarity": bar.similarity},
            **found.as_json(),
            "wrong_pairs": [
                {"query_a": one.pair.query_a, "query_b": one.pair.query_b, "reason": one.reason}
                for one in wrong
            ],
            "broken": broken,
        }
        print_json(shown)
    else:
        _tell(found, wrong)
    for sentence in broken:
        say(f"FAIL  {sentence}")
    return NO if broken else OK


def _bar(args: argparse.Namespace, settings: Settings) -> Bar:
    from cacheserver.core.types import Bar

    if args.target is not None and not 0 < args.target <= 0.5:
        raise SettingsError("`--target` must be above 0 and at most 0.5")
    if args.similarity is not None and not 0 < args.similarity <= 1:
        raise SettingsError("`--similarity` must be above 0 and at most 1")
    if args.similarity is not None:
        return Bar(similarity=args.similarity, top_k=settings.top_k)
    if args.target is not None:
        return Bar(target=args.target, top_k=settings.top_k)
    target = None if settings.similarity is not None else settings.target
    return Bar(similarity=settings.similarity, target=target, top_k=settings.top_k)


def _judge(
    pairs: list[QuestionPair], bar: Bar, settings: Settings, system: str | None
) -> list[Judged]:
    from cacheserver.analysis.evaluation.pairs import judge
    from cacheserver.analysis.replay.seen import Reader
    from cacheserver.analysis.replay.similar import Similar
    from cacheserver.analysis.replay.vectors import Embedding
    from cacheserver.core.types import Tenant
    from cacheserver.embedding import build
    from cacheserver.languages.rules import languages

    with ExitStack() as stack:
        loaded = build.load(settings)
        stack.callback(build.close, loaded)
        embedding = stack.enter_context(closing(Embedding(loaded.embedder)))
        similar = stack.enter_context(Similar(embedding, languages(), prior=loaded.prior))
        progress = stack.enter_context(Progress(only_terminal=True))
        reader = Reader(Tenant("default", bar=bar), languages())
        found = []
        for one in judge(pairs, reader, similar, system=system):
            found.append(one)
            progress.count("judging", "pairs", len(found), len(pairs))
        return found


def _tell(found: Figures, wrong: list[Judged]) -> None:
    low, high = found.wrong_interval
    output.print_facts(
        {
            "pairs": f"{found.pairs:,}, {found.same:,} of them with one answer",
            "hits": f"{found.hits:,} ({output.percent(found.hit_rate)} of the pairs)",
            "wrong": f"{found.wrong:,} ({found.wrong_rate:.2%} of the hits; 95%: {low:.2%} to "
            f"{high:.2%})",
            "served of one answer": output.percent(found.found),
            "served of two answers": output.percent(found.fooled),
            "reasons": ", ".join(f"{name} {count:,}" for name, count in found.reasons.items()),
        }
    )
    if wrong:
        rows = [(one.reason, output.cut(one.pair.query_a, 60), one.pair.query_b) for one in wrong]
        print()
        output.print_table(("WRONG", "STORED", "ASKED"), rows[:_SHOWN])
        if len(wrong) > _SHOWN:
            say(f"{len(wrong) - _SHOWN:,} more; --json has them all.")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must be a share from 0 to 1, not {text!r}")
    return share
