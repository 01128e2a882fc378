"""`scripts/bench`: measure, print the figures, write JSON and the page's table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.benchmarks import (
    admin,
    audit,
    commands,
    crash,
    embed,
    encryption,
    hits,
    imports,
    index,
    instructions,
    invoice,
    levers,
    litellm_proxy,
    misses,
    observing,
    reports,
    semantic,
    simulate,
    starts,
    storebytes,
    table,
    workers,
)
from scripts.benchmarks.processes.load import LOAD_CORE, pinned, temporary_folder
from scripts.benchmarks.rows import text
from scripts.benchmarks.run import INDEXES, Run
from scripts.benchmarks.scale import measure as scale
from scripts.benchmarks.scale import restart

# The table of docs/performance.md.
_PARTS: Mapping[str, Callable[[Run], list[dict[str, Any]]]] = {
    "hits": hits.measure,
    "litellm": litellm_proxy.measure,
    "instructions": instructions.measure,
    "commands": commands.measure,
    "import": imports.measure,
    "semantic": semantic.measure,
    "misses": misses.measure,
    "starts": starts.measure,
    "crash": crash.measure,
    "simulate": simulate.measure,
    "audit": audit.measure,
}
# Only where they are named: they answer questions of other pages, or need data we do not ship.
_NAMED: Mapping[str, Callable[[Run], list[dict[str, Any]]]] = {
    "admin": admin.measure,
    "embed": embed.measure,
    "reports": reports.measure,
    "invoice": invoice.measure,
    "miss": levers.measure,
    "observe": observing.measure,
    "bytes": storebytes.measure,
    "encryption": encryption.measure,
    "index": index.measure,
    "scale": scale.measure,
    "restart": restart.measure,
    "workers": workers.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "part",
        nargs="*",
        choices=[[], *_PARTS, *_NAMED],
        help=f"if none is named: {', '.join(_PARTS)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--seconds", type=float, default=4, help="of load for each figure")
    parser.add_argument("--entries", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="print an earlier --json as Markdown, and end"
    )
    parser.add_argument(
        "--into", type=Path, metavar="PAGE", help="with --table: replace the table of this page"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="count the instructions of an exact hit, and fail if docs/performance.md has fewer",
    )
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="the traces `miss` replays"
    )
    parser.add_argument("--requests", type=int, default=20_000, help="of `invoice`")
    parser.add_argument(
        "--vectors", type=int, nargs="+", default=[20_000], help="of `index` and `restart`"
    )
    parser.add_argument(
        "--scopes", type=int, nargs="+", default=[1, 60, 500], help="of `index` and `restart`"
    )
    parser.add_argument("--indexes", nargs="+", choices=INDEXES, default=INDEXES, help="of `index`")
    parser.add_argument("--lines", type=int, default=50_000, help="of the log of `audit`")
    parser.add_argument(
        "--simulate",
        nargs="?",
        const="",
        metavar="FILE",
        help="with `scale`: simulate up to a million requests a second too; with FILE from the "
        "figures of an earlier --json, measuring nothing",
    )
    args = parser.parse_args()
    if args.table:
        figures = json.loads(args.table.read_text())
        if args.into:
            table.write(args.into, figures)
        else:
            print("\n".join(table.markdown(figures)))
        return 0
    if args.check:
        return instructions.check()
    return 0 if _measure(args) else 1


def _measure(args: argparse.Namespace) -> bool:
    """Measure and print; return whether every target was met."""
    met = True
    figures: dict[str, Any] = {"machine": _machine()}
    with pinned(LOAD_CORE), temporary_folder() as folder:  # the other core is the server's alone
        run = Run(
            args.seconds,
            args.entries,
            folder,
            args.data,
            args.requests,
            args.lines,
            args.vectors,
            scopes=args.scopes,
            indexes=args.indexes,
            simulate=args.simulate is not None,
            figures=json.loads(Path(args.simulate).read_text()).get("scale", [])
            if args.simulate
            else None,
        )
        for name in args.part or _PARTS:
            began = time.monotonic()
            figures[name] = {**_PARTS, **_NAMED}[name](run)
            print(f"{name} ({time.monotonic() - began:.0f} s)")
            for row in figures[name]:
                met &= row.get("target") is None or row["met"]
                kept = "" if row.get("target") is None else "ok" if row["met"] else "MISSED"
                shown = f"  {row['what']:<78} {text(row):>12} {row.get('target') or '':<8} {kept}"
                print(shown.rstrip(), flush=True)
            if args.json:
                args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return met


def _machine() -> str:
    """The processor's name; how many of them; how busy they were with other work at the start."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    name = found[1] if found else platform.machine()
    return f"{name}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before"


sys.exit(main())
