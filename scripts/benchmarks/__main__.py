"""`scripts/bench`: measure, print a table, write JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

from scripts.benchmarks import (
    audit,
    embed,
    encryption,
    hits,
    invoice,
    ledger,
    levers,
    misses,
    observing,
    starts,
    storebytes,
    table,
)


def main() -> None:
    parts = {
        "embed": embed.measure,
        "hits": hits.measure,
        "misses": misses.measure,
        "starts": starts.measure,
    }
    # Only where they are named: they take minutes, or data that is not part of the repository.
    named = {
        "ledger": ledger.measure,
        "invoice": lambda seconds, entries: invoice.measure(args.requests),
        "miss": lambda seconds, entries: levers.measure(args.data),
        "audit": lambda seconds, entries: audit.measure(args.lines),
        "observe": observing.measure,
        "bytes": storebytes.measure,
        "encryption": encryption.measure,
    }
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "part",
        nargs="*",
        choices=[[], *parts, *named],
        help="`embed`, `hits`, `misses` and `starts` if none is named",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--seconds", type=float, default=8, help="of load for each figure")
    parser.add_argument("--entries", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="show an earlier --json as Markdown, and end"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="the traces `miss` replays"
    )
    parser.add_argument("--requests", type=int, default=20_000, help="of `invoice`")
    parser.add_argument("--lines", type=int, default=1_000_000, help="of `audit`'s log")
    args = parser.parse_args()
    if args.table:
        print("\n".join(table.markdown(json.loads(args.table.read_text()))))
        return
    figures: dict[str, Any] = {"machine": _machine()}
    for name in args.part or parts:
        figures[name] = {**parts, **named}[name](args.seconds, args.entries)
        for row in figures[name]:
            kept = "" if row.get("target") is None else ("  ok" if row["met"] else "  MISSED")
            print(f"{row['what']:<66} {row['value']:>10.3f} {row['unit']:<5}", end="")
            print(f" {row.get('target') or ''}{kept}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def _machine() -> str:
    """The processor's name; how many of them; how busy they were with other work at the start."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    name = found[1] if found else platform.machine()
    return f"{name}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before"


main()
