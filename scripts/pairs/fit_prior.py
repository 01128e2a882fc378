"""`scripts/fit_prior --data DIR --embedder DIR [--write]`: fit the prior.

The embedder is what `python -m cacheserver.index.export` wrote.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts.pairs.priors import cosine_of, report


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/fit_prior", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--embedder", type=Path, required=True)
    parser.add_argument(
        "--write", action="store_true", help="into matching/data/prior_weights.json"
    )
    args = parser.parse_args()
    report(args.data, cosine_of(args.embedder), write=args.write)


if __name__ == "__main__":
    main()
