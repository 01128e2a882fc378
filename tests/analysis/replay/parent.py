"""Replays in two processes for ever, and says which: to be killed."""

from __future__ import annotations

import itertools
import multiprocessing
import sys
from functools import partial

from cacheserver.analysis.replay import workers
from tests.analysis.replay.calls import call
from tests.analysis.replay.engines import make

if __name__ == "__main__":
    endless = (call(f"q{n}", n, system=f"You are shop {n % 5}.") for n in itertools.count())
    for _ in workers.replay(endless, partial(make, 0), processes=2):
        children = [one.pid for one in multiprocessing.active_children()]
        sys.stdout.write(f"{children[0]} {children[1]}\n")
        sys.stdout.flush()
        sys.stdin.read()
