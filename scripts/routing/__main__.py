"""scripts/train_router --data DIR [--write] [--score]: see `scripts.routing.train`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from cacheserver.core.rules.routing import RoutingRules
from scripts.routing import train, weightsfile
from scripts.routing.fitting import Fitted, by_label

ROOT = Path(__file__).resolve().parents[2]
DESK_ROWS = 500  # of each data set
WEIGHTS = ROOT / "cacheserver/routing/data/complexity_weights.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="with banking77 and clinc150")
    parser.add_argument("--model", type=Path, default=ROOT / "var/model", help="the embedder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="fit on all and write the weights")
    parser.add_argument("--score", action="store_true", help="score the test half")
    args = parser.parse_args()
    rules = RoutingRules()
    vectors = train.Vectors(args.model)

    if args.write or not args.score:
        _fit(vectors, rules, write=args.write)
    if args.score:
        _score(vectors, rules, args.data, args.seed)


def _fit(vectors: train.Vectors, rules: RoutingRules, *, write: bool) -> None:
    examples = vectors.give(train.half("train"))
    more, later = vectors.give(train.own()), vectors.give(train.own("later"))
    print(f"train half {dict(by_label(examples))}, more {dict(by_label([*more, *later]))}")
    fitted = {}
    rows = [train.baseline(examples)]
    for name, settings, vector in (
        ("with embedding", train.WITH_VECTOR, True),
        ("words only", train.WITHOUT, False),
    ):
        logits = train.folds(examples, more, settings, vector=vector)
        shares, heat = train.calibrated(logits, examples)
        rows.append(train.judged(f"{name}, folds", shares, examples, rules, embedded=vector))
        if write:
            fit = Fitted([*examples, *more, *later], vector=vector, settings=settings)
            fitted[name] = fit.weights(heat)
    print(train.table(rows))
    if write:
        text = weightsfile.source(fitted["with embedding"], fitted["words only"])
        WEIGHTS.write_text(text)
        print(f"{WEIGHTS.name}: {len(text.splitlines())} lines")


def _score(vectors: train.Vectors, rules: RoutingRules, data: Path, seed: int) -> None:
    # Read late: what is scored is what was written just now.
    from cacheserver.routing.complexity_weights import WITH_VECTOR, WITHOUT

    held = vectors.give(train.half("test"))
    bare = [replace(example, vector=None) for example in held]
    print(f"test half {dict(by_label(held))}")
    rows = [train.baseline(held)]
    for name, examples, embedded in (("with embedding", held, True), ("words only", bare, False)):
        shares = train.shipped(examples, WITH_VECTOR, WITHOUT)
        rows.append(train.judged(name, shares, held, rules, embedded=embedded))
    print(train.table(rows))
    real = vectors.give(train.desk_examples(data, DESK_ROWS, seed))
    found = train.levels(train.shipped(real, WITH_VECTOR, WITHOUT), rules, embedded=True)
    simple = found.count("SIMPLE") / len(found)
    print(f"{len(real)} questions to a help desk and an assistant: {simple:.1%} SIMPLE")


if __name__ == "__main__":
    main()
