"""`scripts/evaluate --data DIR`: replay the serving decision over labelled questions.

DIR holds folders of tab-separated files: pairs have the columns query_a, query_b and label, streams
query and intent, logs Date and Query. docs/quality.md says what is measured. With --half constants
are chosen on one half of each set (tune) and figures reported on the other (report).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scripts.evaluation.data import Malformed
from scripts.evaluation.plan import PARTS, SECTIONS, Plan
from scripts.evaluation.run import Evaluation
from scripts.evaluation.served import NAMES
from scripts.evaluation.verify.part import MODELS


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/evaluate", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", help="sets whose folder/file contains this")
    parser.add_argument(
        "--quick", action="store_true", help="one seed, few rows: a part in under a minute"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--targets", nargs="+", type=float, default=[1, 2, 5, 10], help="percent")
    parser.add_argument(
        "--traps", nargs="+", type=float, default=[1, 5, 20], help="percent mixed in"
    )
    parser.add_argument("--rows", type=int, default=10_003, help="of each stream")
    parser.add_argument("--seeds", type=int, default=5, help="for the 1%% target")
    parser.add_argument("--other-seeds", type=int, default=2, help="for the rest")
    parser.add_argument("--embedder", type=Path, default=Path("var/model"))
    parser.add_argument(
        "--half", choices=("tune", "report", "all"), default="all", help="of each set"
    )
    parser.add_argument(
        "--noise",
        action="append",
        default=[],
        metavar="DIFFERENT,OPEN",
        help="percent of same answers called different and left open; may be given again",
    )
    parser.add_argument(
        "--sections", nargs="+", choices=SECTIONS, default=SECTIONS, help="of the part `verify`"
    )
    parser.add_argument(
        "--verifiers", nargs="+", choices=tuple(MODELS), default=(), metavar="NAME", help="of these"
    )
    parser.add_argument(
        "--index", choices=NAMES, default="all", help="that finds neighbours on streams"
    )
    parser.add_argument("--attack", type=Path, help="pairs with a column `class`")
    parser.add_argument("--against", type=Path, help="an earlier --json: judge the same cold pairs")
    parser.add_argument("--json", type=Path, help="write every figure")
    parser.add_argument("--plots", type=Path, help="write the curves as PNG into this folder")
    args = parser.parse_args()
    if not all(0 < share <= 50 for share in (*args.targets, *args.traps)):
        parser.error("a target and a share of traps is over 0 and at most 50 percent")
    noise = []
    for dials in args.noise:
        try:
            different, left_open = (float(share) / 100 for share in dials.split(","))
        except ValueError:
            parser.error(f"--noise {dials}: two percentages, as in 5,15")
        if min(different, left_open) < 0 or not 0 < different + left_open <= 1:
            parser.error(f"--noise {dials}: together over 0 and at most 100 percent")
        noise.append((different, left_open))
    plan = Plan(
        data=args.data,
        embedder=args.embedder,
        only=args.only,
        quick=args.quick,
        json=args.json,
        rows=args.rows,
        seeds=args.seeds,
        other_seeds=args.other_seeds,
        parts=tuple(args.parts),
        targets=tuple(share / 100 for share in args.targets),
        dials=tuple(share / 100 for share in args.traps),
        half=args.half,
        noise=tuple(noise),
        index=args.index,
        attack=args.attack,
        against=args.against,
        sections=tuple(args.sections),
        verifiers=tuple(args.verifiers),
    )
    try:
        found = Evaluation(plan).run()
    except Malformed as problem:
        sys.stderr.write(f"evaluate: {problem}\n")
        sys.exit(2)
    if args.plots is not None:
        from scripts.evaluation import curves  # matplotlib, of the `dev` extra

        for path in curves.draw(found, args.plots):
            print(path)


if __name__ == "__main__":
    main()
