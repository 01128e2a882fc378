"""`scripts/chaos --seconds 60`: run a server under mixed traffic while all around it fails.

The seed is printed; the same seed draws the same faults and questions. Exit status 1: something was
lost, leaked, late or wrong, and each is named with its time and ids. docs/reliability.md says what
is promised.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
from pathlib import Path

from scripts.chaos_run import schedule
from scripts.chaos_run.report import lines
from scripts.chaos_run.run import chaos

MOST_SERVERS = 16  # processes of one machine


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seed", type=int, help="a random one by default")
    parser.add_argument("--seconds", type=float, default=600, help="of traffic and faults")
    parser.add_argument(
        "--store", choices=("embedded", "own"), default="embedded", help="own: a Valkey beside it"
    )
    parser.add_argument(
        "--servers", type=int, default=1, help="several share a Valkey, each by a line of its own"
    )
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="the store is a Valkey cluster, three primaries and three replicas; several servers",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="FAULT",
        choices=(*schedule.HARD, *schedule.SEVERAL, *schedule.PRIMARY, *schedule.UPSTREAM),
    )
    parser.add_argument("--keep", type=Path, help="leave logs and data in this folder")
    args = parser.parse_args()
    if not 1 <= args.servers <= MOST_SERVERS:
        parser.error(f"--servers is 1 to {MOST_SERVERS}")
    if args.cluster and args.servers == 1:
        parser.error("--cluster is for several servers: add --servers 4")
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    # Exit through `finally`: a server that is held by SIGSTOP would otherwise stay for ever.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    outcome = asyncio.run(
        chaos(
            seed=seed,
            seconds=args.seconds,
            own_store=args.store == "own",
            servers=args.servers,
            clustered=args.cluster,
            kinds=tuple(args.only) if args.only else None,
            keep=args.keep,
        )
    )
    for line in lines(outcome):
        print(line)
    sys.exit(1 if outcome.violations else 0)


if __name__ == "__main__":
    main()
