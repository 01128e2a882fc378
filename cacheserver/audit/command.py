"""`cacheserver audit PATH...`: read logs, replay them, say what it found."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cacheserver.replay.workers import Made
    from cacheserver.types import Tenant

_SEVERAL = 20_000_000  # bytes of logs from which on a second process is worth its start


def add(commands: Any) -> None:
    """Register the command."""
    audit = commands.add_parser("audit", help="say what your logs would have saved")
    audit.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a log file or a folder")
    audit.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON too")
    audit.add_argument("--since", help="only requests from then on (ISO 8601 or Unix seconds)")
    audit.add_argument("--until", help="only requests before then")
    audit.add_argument(
        "--one-tenant", action="store_true", help="all users may be given each other's answers"
    )
    audit.add_argument("--target", type=float, default=0.01, help="wrong share of semantic hits")
    audit.add_argument("--ttl", type=int, default=3_600, help="how long an answer may be served, s")
    audit.add_argument("--prices", type=Path, help="a TOML price file, as CACHESERVER_PRICES")
    audit.add_argument("--wrong-hit-usd", type=float, default=0.0, help="what a wrong answer costs")
    audit.add_argument("--most-entries", type=int, default=500_000, help="answers remembered")
    audit.add_argument(
        "--most-texts", type=int, default=200_000, help="questions and answers embedded, at most"
    )
    audit.add_argument("--processes", type=int, help="0: as many as there are cores")
    audit.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class Making:
    """What each process of the replay makes its engine of."""

    model_dir: Path
    tenant: Tenant
    prices: str | None
    entries: int
    texts: int

    def __call__(self) -> Made:
        from cacheserver.policy import lexicon
        from cacheserver.policy.money import Pricer, load_overrides
        from cacheserver.replay.engine import Engine
        from cacheserver.replay.seen import Reader
        from cacheserver.replay.similar import Similar
        from cacheserver.replay.vectors import Embedding
        from cacheserver.replay.workers import Made
        from index.models import OnnxEmbedder

        embedding = Embedding(OnnxEmbedder(self.model_dir))
        similar = Similar(embedding, lexicon.standard(), texts=self.texts)
        pricer = Pricer(None if self.prices is None else load_overrides(self.prices))
        engine = Engine(
            reader=Reader(self.tenant, embedding.id),
            pricer=pricer,
            similar=similar,
            most=self.entries,
        )

        def close() -> None:
            similar.close()
            embedding.close()

        return Made(engine, close)


def run(asked: argparse.Namespace) -> int:
    """Print the report. The exit status: 2 where nothing at all could be read."""
    from cacheserver import config, jsontext
    from cacheserver.audit import data, terminal
    from cacheserver.audit.leaks import Leaks
    from cacheserver.audit.reading import Reading, calls
    from cacheserver.audit.tally import Tally
    from cacheserver.errors import SettingsError
    from cacheserver.policy.money import Pricer, load_overrides
    from cacheserver.replay import workers
    from cacheserver.types import Bar, Tenant
    from index.errors import ModelDamaged
    from index.models import read_manifest

    settings = config.load()
    model_dir = settings.model_dir or settings.data_dir / "model"
    if not 0 < asked.target <= 0.5:
        raise SettingsError("`--target` must be above 0 and at most 0.5")
    if asked.ttl < 0 or asked.wrong_hit_usd < 0:
        raise SettingsError("`--ttl` and `--wrong-hit-usd` must be 0 or more")
    prices = None
    if asked.prices is not None:
        try:
            prices = asked.prices.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"`--prices`: {error}") from error
        load_overrides(prices)  # told here, not in a process
    try:
        read_manifest(model_dir)
    except ModelDamaged as error:
        raise SettingsError(f"`CACHESERVER_MODEL_DIR`: {error}") from error
    size = sum(
        one.stat().st_size
        for path in asked.paths
        for one in ([path] if path.is_file() else path.rglob("*"))
        if one.is_file()
    )
    processes = asked.processes if asked.processes is not None else 1 if size < _SEVERAL else 0
    processes = processes or os.cpu_count() or 1
    tenant = Tenant(
        "default",
        default_ttl_s=asked.ttl,
        max_ttl_s=max(asked.ttl, Tenant("default").max_ttl_s),
        bar=Bar(target=asked.target),
    )
    making = Making(
        model_dir, tenant, prices, asked.most_entries // processes, asked.most_texts // processes
    )
    pricer = Pricer(None if prices is None else load_overrides(prices))
    reading, tally, shown = Reading(), Tally(), Shown(_say)
    leaks = Leaks(pricer.cost, ttl_s=asked.ttl)
    found = calls(
        asked.paths,
        since=_time("--since", asked.since),
        until=_time("--until", asked.until),
        reading=reading,
        progress=shown.read,
    )
    if asked.one_tenant:
        found = (replace(call, tenant="default") for call in found)
    interrupted = False
    try:
        for done, (call, step) in enumerate(workers.replay(found, making, processes=processes), 1):
            name = tally.add(call, step)
            leaks.add(call, step, name)
            shown.replayed(done)
    except KeyboardInterrupt:
        interrupted = True
    shown.end()
    seconds = (reading.last or 0.0) - (reading.first or 0.0)
    told = data.report(
        reading,
        tally,
        leaks.worst(tally.whole.spent, seconds),
        wrong_hit=round(asked.wrong_hit_usd * 1_000_000_000),
    )
    for line in terminal.lines(told):
        print(line)
    if asked.json is not None:
        asked.json.write_bytes(jsontext.dumps(told))
    if interrupted:
        return 130
    return 0 if reading.requests else 2


def _time(option: str, text: str | None) -> float | None:
    from cacheserver.audit.fields import time_of
    from cacheserver.errors import SettingsError

    if text is None:
        return None
    found = time_of(text)
    if found is None:
        raise SettingsError(f"`{option}` must be a time such as 2026-11-01 or Unix seconds")
    return found


class Shown:
    """How far it is: a line that is written over on a terminal, else one now and then."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._terminal = sys.stderr.isatty()
        self._next = 0.0
        self._began = time.monotonic()

    def read(self, done: int, whole: int) -> None:
        """So many bytes of so many are read."""
        share = done / whole if whole else 1.0
        self._show(f"reading: {share:4.0%} of {whole / 1e6:,.1f} MB", last=done >= whole)

    def replayed(self, done: int) -> None:
        """So many requests are replayed."""
        rate = done / max(0.001, time.monotonic() - self._began)
        self._show(f"replayed: {done:,} requests, {rate:,.0f} a second")

    def end(self) -> None:
        if self._terminal:
            print(file=sys.stderr)

    def _show(self, text: str, *, last: bool = False) -> None:
        now = time.monotonic()
        if now < self._next and not last:
            return
        self._next = now + (0.2 if self._terminal else 10.0)
        if self._terminal:
            print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)
        else:
            self._say(text)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
