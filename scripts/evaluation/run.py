"""The whole evaluation: pairs, streams, streams with traps, logs; every baseline beside."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from scripts.evaluation import baselines, data, logs, mixed, pairs, report
from scripts.evaluation.scores import Scores
from scripts.evaluation.stream import Outcome, Replay, Settings, Traffic, prepare
from scripts.evaluation.vectors import Embeddings
from scripts.pairs.types import Pair

TARGETS = (0.01, 0.02, 0.05, 0.10)
DEFAULT = 0.01
PAIRS = 5_000  # of a larger set every n-th; more change no figure by a point


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    data: Path
    embedder: Path
    verifier: Path | None
    only: str | None = None
    quick: bool = False
    json: Path | None = None
    rows: int = 10_003  # of a stream: all of Banking77's train split
    seeds: int = 5
    pairs_only: bool = False
    targets: tuple[float, ...] = TARGETS
    dials: tuple[float, ...] = mixed.DIALS

    @property
    def limit(self) -> int:
        return min(self.rows, 1_500) if self.quick else self.rows

    @property
    def runs(self) -> range:
        return range(1, (1 if self.quick else self.seeds) + 1)


def _static(threshold: float) -> Callable[[Traffic, int], Outcome]:
    return lambda traffic, _: baselines.static(traffic, threshold)


class Evaluation:
    """A plan at work: prints as it goes."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._embeddings = Embeddings(plan.embedder)
        self._scores = None if plan.verifier is None else Scores(plan.verifier)
        self._rows: list[report.Row] = []
        self._pairs: list[pairs.Figures] = []
        self._logs: dict[str, object] = {}

    def run(self) -> None:
        plan = self._plan
        folder = data.read(plan.data, plan.only)
        for name, listed in folder.pairs.items():
            step = max(1, len(listed) // (600 if plan.quick else PAIRS))
            made = pairs.replay(name, listed[::step], self._embeddings, self._scores, DEFAULT)
            if made is not None:
                self._pairs.append(made)
                print(report.pair_line(made), flush=True)
            self._save()
        if folder.streams and not plan.pairs_only:
            print(report.HEAD)
            traps = mixed.traps(data.read(plan.data).pairs)
            for name, asked in folder.streams.items():
                self._stream(name, asked, traps)
        for name, queries in folder.logs.items():
            self._logs[name] = logs.replay(
                queries[: 2_000 if plan.quick else None], self._embeddings, DEFAULT
            )
            print(name, self._logs[name])
        self._save()

    def _stream(self, name: str, asked: Sequence[data.Asked], traps: Sequence[Pair]) -> None:
        plain = [self._traffic(asked, seed) for seed in self._plan.runs]
        targets = (DEFAULT,) if self._plan.quick else self._plan.targets
        for target in targets:
            self._each(name, f"calibrated {target:.0%}", target, plain, self._calibrated(target))
        self._baselines(name, plain)
        dials = self._plan.dials[1:2] if self._plan.quick else self._plan.dials
        for dial in dials if traps else ():
            mixtures = [self._traffic(asked, seed, traps, dial) for seed in self._plan.runs]
            for target in targets:
                way = f"calibrated {target:.0%}"
                self._each(f"{name} +{dial:.0%}", way, target, mixtures, self._calibrated(target))

    def _baselines(self, name: str, plain: Sequence[Traffic]) -> None:
        self._each(name, "exact", None, plain, lambda t, _: baselines.exact(t))
        swept = [
            self._each(name, f"static {at:.2f}", None, plain, _static(at))
            for at in (baselines.THRESHOLDS[::3] if self._plan.quick else baselines.THRESHOLDS)
        ]
        kept = [row for row in swept if row.wrong <= DEFAULT]
        if kept:
            best = max(kept, key=lambda row: row.hits)
            print(f"{name}: best static threshold with at most {DEFAULT:.0%} wrong: {best.way}")
        self._each(name, "GPTCache 0.60", None, plain, _static(baselines.GPTCACHE))
        self._each(
            name, "vCache 1%", DEFAULT, plain, lambda t, seed: baselines.vcache(t, DEFAULT, seed)
        )
        self._each(name, "perfect verifier", None, plain, lambda t, _: baselines.perfect(t))

    def _calibrated(self, target: float) -> Callable[[Traffic, int], Outcome]:
        return lambda traffic, seed: Replay(
            traffic, Settings(target=target), self._scores, seed
        ).run()

    def _each(
        self,
        name: str,
        way: str,
        target: float | None,
        traffics: Sequence[Traffic],
        decide: Callable[[Traffic, int], Outcome],
    ) -> report.Row:
        outcomes = [decide(t, seed) for t, seed in zip(traffics, self._plan.runs, strict=True)]
        made = report.row(name, way, target, outcomes)
        self._rows.append(made)
        print(report.line(made), flush=True)
        self._save()
        return made

    def _traffic(
        self,
        asked: Sequence[data.Asked],
        seed: int,
        traps: Sequence[Pair] = (),
        dial: float = 0.0,
    ) -> Traffic:
        rows = list(asked)
        Random(seed).shuffle(rows)
        rows = rows[: self._plan.limit]
        return prepare(mixed.mix(rows, traps, dial, seed) if dial else rows, self._embeddings, seed)

    def _save(self) -> None:
        if self._scores is not None:
            self._scores.save()
        if self._plan.json is not None:
            made = report.as_json(self._rows, self._pairs, self._logs)
            self._plan.json.write_text(json.dumps(made, indent=1) + "\n")
